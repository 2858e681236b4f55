"""The tables of configs/papers: every cell names a config that is there and overrides that it takes."""

from pathlib import Path

import pytest

from ssl_ext.apis import load_config, parse_options
from ssl_ext.config.papers import find_tables, read_table
from ssl_ext.errors import UserError
from ssl_ext.registry import MODELS

ROOT = Path(__file__).parents[1]
PAPERS = ROOT / "configs" / "papers"
TABLES = {path.stem: read_table(path) for path in find_tables(PAPERS)}
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("**/*.py") if "_base_" not in path.parts}
FIGURES = {
    **dict(amix_table1=36, amix_table2=60, amix_table3=66, amix_table4=48, amix_table5=38, amix_table6=24),
    **dict(amix_table7=14, amix_table8=14, barlow_twins_table1=1, jaccard_table2=24),
    **dict(thesis_table71=70, thesis_table72=46, thesis_table73=46, thesis_table74=42, thesis_table75=24),
    **dict(thesis_table76=44, thesis_silhouettes=12, tribyol_linear=48, tribyol_finetuning=54),
    **dict(tribyol_transfer=40, trimix_table1=40, trimix_table2=60, trimix_table3=40, trimix_table4=60),
    **dict(trimix_table5=80, trimix_table6=5, trimix_table7=3),
    # Figures that the papers draw.
    **dict(amix_fig2b=0, amix_fig2c=0, amix_fig5_alpha=0, amix_fig5_clusters=0, amix_fig5_time=0),
    **dict(jaccard_fig2=0, jaccard_table1=4, thesis_fig31=0, thesis_fig71=0, trimix_fig2=0, trimix_fig4=0),
    # Rows that the papers do not print.
    **dict(jaccard_readings=0, jaccard_temperatures=0, stem_readings=0, tribyol_readings=0),
    **dict(trimix_readings=0),
    **dict(claims_amix=0, claims_amix_ssl=0, claims_jaccard=0, claims_thesis=0, claims_tribyol=0),
    **dict(claims_trimix=0),
}
# No config of this project makes these.
WITHOUT_CONFIG: dict[str, set[str]] = {}


def figures(name):
    return [cell for cell in TABLES[name].cells if cell.published is not None]


def test_every_table_has_all_its_figures():
    assert {name: len(figures(name)) for name in TABLES} == FIGURES


@pytest.mark.parametrize("name", TABLES)
def test_every_figure_has_a_config_or_is_marked_as_having_none(name):
    without = WITHOUT_CONFIG.get(name, set())
    assert {cell.at["row"] for cell in figures(name) if cell.config is None} == without
    for cell in TABLES[name].cells:
        if cell.config is None:
            continue
        named = [cell.config, cell.init, (cell.evaluate or {}).get("config")]
        if isinstance(cell.pretrain, str) and not cell.pretrain.endswith(".pth"):
            named.append(cell.pretrain)
        missing = [stem for stem in named if stem and stem not in CONFIGS]
        assert not missing, cell


def test_no_two_figures_of_a_table_are_of_one_run():
    for name, table in TABLES.items():
        runs = [
            (c.config, *c.options, c.pretrain, c.init, str(c.evaluate), c.metric)
            for c in table.cells
            if c.config
        ]
        assert len(set(runs)) == len(runs), name


def test_every_override_changes_its_config_and_the_model_takes_it():
    cells = [cell for table in TABLES.values() for cell in table.cells if cell.options]
    # Depth and data do not affect the accepted options.
    changed = {(cell.config.split("_")[0], *cell.options): cell.config for cell in cells}
    assert len(changed) > 50
    for (_, *options), config in changed.items():
        plain, values = load_config(CONFIGS[config]), parse_options(options)
        plain.model.backbone.update(stem_channels=8, base_channels=8)
        if "queue_size" in plain.model:
            plain.model.queue_size = 256
        before = plain.to_dict()
        for key, value in values.items():
            assert load_config(plain, {key: value}).to_dict() != before, (config, key)
        if any(key.startswith("model.") for key in values):
            MODELS.build(load_config(plain, values).model)


def test_figures_of_the_paper_stand_in_its_cells():
    """Corners of tables with a ``cell`` function, against the papers."""
    found = {
        (name, cell.published): (
            cell.config,
            *cell.options,
            *sorted(map(str, (cell.evaluate or {}).values())),
        )
        for name in TABLES
        for cell in figures(name)
    }
    assert found["amix_table1", 82.14] == ("amix_resnet18_1xb100-sgd-800e_stl10", "classification")
    assert found["amix_table1", 42.31] == (
        "amix-c_resnet18_1xb256-sgd-400e_tiny-imagenet",
        "model.block_losses=[infonce]",
        "model.mask_labels=True",
        "model.labels.source=ground-truth",
        "linear-aug",
    )
    assert found["amix_table4", 91.98] == (
        "mix-moco-c_resnet50_1xb256-sgd-400e_stl10",
        "model.policy.name=puzzlemix",
        "train_cfg.max_epochs=800",
        "param_scheduler.0.T_max=800",
        "linear-aug",
    )
    assert found["tribyol_linear", 75.41] == (
        "tribyol_resnet50_1xb128-sgd-80e_stl10",
        "train_dataloader.batch_size=32",
        "linear",
    )
    assert found["tribyol_transfer", 51.53] == (
        "cross_resnet50_1xb128-sgd-80e_tiny-imagenet",
        "cifar100",
        "frozen",
        "transfer",
    )
    assert found["thesis_table76", 0.570] == (
        "simclr-grey_resnet18_1xb256-adamw-200e_octmnist",
        "100",
        "budget",
        "unfrozen",
    )


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="is not a Python file of published figures"):
        find_tables(tmp_path)
    (tmp_path / "mine.py").write_text("AXES = 1 +")
    with pytest.raises(UserError, match=r"mine\.py' is not a table of a paper \(SyntaxError"):
        read_table(tmp_path / "mine.py")
