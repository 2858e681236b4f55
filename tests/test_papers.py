"""The tables of configs/papers: every cell names a config that is there and overrides that it takes."""

import re
from pathlib import Path

import pytest
import torch
from methods import method_of
from steps import ready, smallest_side

from ssl_ext.apis import load_config, parse_options
from ssl_ext.apis.tables.planning import plan_table
from ssl_ext.cli.visualize import _parser as visualize_parser
from ssl_ext.config.papers import find_tables, read_table
from ssl_ext.errors import UserError

ROOT = Path(__file__).parents[1]
PAPERS = ROOT / "configs" / "papers"
TABLES = {path.stem: read_table(path) for path in find_tables(PAPERS)}
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("**/*.py") if "_base_" not in path.parts}
FIGURES = {
    **dict(amix_table1=36, amix_table2=60, amix_table3=66, amix_table4=48, amix_table5=38, amix_table6=24),
    **dict(amix_table7=14, amix_table8=14, barlow_twins_table1=1, jaccard_table2=24),
    **dict(thesis_table71=70, thesis_table72=46, thesis_table73=46, thesis_table74=42, thesis_table75=24),
    **dict(
        thesis_table76=44, thesis_silhouettes=13, thesis_counts=123, tribyol_linear=48, tribyol_finetuning=54
    ),
    **dict(tribyol_transfer=40, trimix_table1=40, trimix_table2=60, trimix_table3=40, trimix_table4=60),
    **dict(trimix_table5=80, trimix_table6=5, trimix_table7=3),
    # Figures that the papers draw.
    **dict(amix_fig2b=0, amix_fig2c=0, amix_fig5_alpha=0, amix_fig5_clusters=0, amix_fig5_time=0),
    **dict(jaccard_fig2=0, jaccard_table1=4, thesis_fig71=0, trimix_fig2=0, trimix_fig4=0),
    # Rows that the papers do not print.
    **dict(amix_readings=0, jaccard_readings=0, jaccard_temperatures=0, stem_readings=0, tribyol_readings=0),
    **dict(detection_bccd=0, trimix_readings=0, thesis_depths=0),
    **dict(claims_amix=0, claims_amix_ssl=0, claims_jaccard=0, claims_thesis=0, claims_tribyol=0),
    **dict(claims_trimix=0),
}
# Counts of images, and a network that a first evaluation trains.
WITHOUT_CONFIG: dict[str, set[str]] = {
    "thesis_counts": {cell.at["row"] for cell in TABLES["thesis_counts"].cells},
    "thesis_silhouettes": {"nat:2000e_bloodmnist:250 labels, unfrozen"},
}


def is_curve(cell):
    return (cell.evaluate or {}).get("protocols") == "log"


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


def distinct_overrides():
    """Cells with every override of every method, of which those that differ in numbers only count as one."""
    seen = set()
    for cell in (cell for table in TABLES.values() for cell in table.cells if cell.options):
        kinds = [re.sub(r"=[\d.]+$", "=number", option) for option in cell.options]
        new = {(cell.config.split("_")[0], kind) for kind in kinds} - seen
        if new:
            seen |= new
            yield cell, any(kind.startswith(("model.", "optim_wrapper.")) for _, kind in new)


def narrowed(config):
    """The config with a network of a quarter of the width; with 8 channels torch 2.15 crashes in MoCo's."""
    model, width = config.model, 4 if config.model.backbone.depth >= 50 else 1
    model.backbone.update(stem_channels=16, base_channels=16)
    if "queue_size" in model:
        model.queue_size = 256
    for part in (model.get("neck"), model.head if "num_classes" in model.get("head", {}) else None):
        if part is not None:
            part.in_channels = 128 * width
    if "mix_block" in model:
        model.mix_block.in_channels = 16 * 2 ** (model.get("feature_stage", 3) - 1) * width
    return config


def test_every_override_changes_its_config_and_the_model_takes_a_step_with_it():
    stepped = 0
    for cell, trained in distinct_overrides():
        plain, values = load_config(CONFIGS[cell.config]), parse_options(cell.options)
        before = plain.to_dict()
        for key, value in values.items():
            assert load_config(plain, {key: value}).to_dict() != before, (cell.config, key)
        if not trained:
            continue
        config = narrowed(load_config(plain, values))
        batch, model, optim_wrapper = ready(config, smallest_side(config))
        logged = model.train_step(batch, optim_wrapper)
        assert all(torch.isfinite(value) for value in logged.values()), cell
        stepped += 1
    assert stepped > 50


def test_every_table_plans():
    for name, table in TABLES.items():
        plan = plan_table(table, name, "out", seeds=[0], most_processes=None).plan
        assert len(plan.cells) == len(table.cells), name
        assert all(bool(cell.evaluate) == bool(cell.config) for cell in plan.cells), name


def test_curves_are_of_figures_that_their_runs_log_after_these_epochs():
    curves = [cell for table in TABLES.values() for cell in table.cells if is_curve(cell)]
    cells = {(cell.config, cell.metric, cell.evaluate["epoch"]): cell for cell in curves}
    assert len(cells) > 100
    for (stem, metric, epoch), cell in cells.items():
        config = load_config(CONFIGS[stem], parse_options(cell.options))
        hooks = {hook.type: hook.get("interval", 1) for hook in config.custom_hooks}
        last = config.train_cfg.max_epochs
        assert int(epoch) <= last
        if metric.startswith("loss_"):
            assert metric.removeprefix("loss_") in method_of(config.model.type).terms
            continue
        hook = {"knn_top1": "FeatureMonitorHook", "training_seconds": "ClassifierEvaluationHook"}.get(metric)
        hook = "ValidationLossHook" if metric.startswith("val_") else hook
        assert hook or metric in ("loss", "positive_top1", "epoch_seconds"), metric
        assert not hook or int(epoch) == last or int(epoch) % hooks[hook] == 0, cell


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


def listed():
    """Rows of configs/papers/README.md by section: number of the table or figure → cells or command."""
    sections = re.split(r"\n## ", (PAPERS / "README.md").read_text(encoding="utf-8"))[1:]
    rows = {
        section.splitlines()[0]: re.findall(r"^\| (.+?) \| .+? \| (.+?) \|$", section, re.M)
        for section in sections
    }
    return {paper: dict(row for row in found if row[0] != "---") for paper, found in rows.items()}


def test_the_list_has_every_table_and_figure_of_the_papers():
    """The numbers printed in the papers, in order; those of others' results and diagrams have no cells."""
    amix = [
        f"Fig. {number}"
        for number in ("1", "2(a)", "2(b)", "2(c)", "3", "4", "5, left", "5, middle", "5, right")
    ]
    thesis = [
        "Fig. 1.1",
        "Fig. 2.1 to 2.15",
        "Table 2.1, 2.2",
        "Fig. 3.1",
        "Fig. 3.2",
        "Fig. 3.3, 3.4",
        "Table 3.1, 3.2, C.1",
    ]
    thesis += [f"Fig. {number}" for number in ("4.1", "4.2", "4.3", "5.1", "6.1")]
    thesis += [*(f"Table 7.{n}" for n in range(1, 7)), *(f"Fig. 7.{n}" for n in range(1, 10))]
    numbers = {
        "TriMix": [
            *(f"Fig. {n}" for n in range(1, 6)),
            *(f"Table {n}" for n in ["I", "II", "III", "IV", "V", "VI", "VII"]),
        ],
        "Jaccard bi-projector": ["Fig. 1", "Fig. 2", "Table 1", "Table 2", "Sec. 3"],
        "AMix": [*amix, *(f"Table {n}" for n in range(1, 9)), "Appendix"],
        "TriBYOL": ["Introduction", "Linear evaluation", "Fine-tuning", "Transfer"],
        "Thesis": [*thesis, "Table B.1", "Table B.2 to B.7", "Fig. D.1"],
    }
    rows = listed()
    own = ("not ", "Barlow Twins, ")
    assert {
        paper: [key for key in found if not key.startswith(own)] for paper, found in rows.items()
    } == numbers
    named = [
        name for found in rows.values() for row in found.values() for name in re.findall(r"(\w+)\.py`", row)
    ]
    assert set(named) - {"visualize", "benchmark", "audit"} == set(TABLES)
    commands = {
        words
        for found in rows.values()
        for row in found.values()
        for words in re.findall(r"`visualize\.py (.+?)`", row)
    }
    drawn = visualize_parser(None).format_help()
    assert len(commands) > 5 and all(words.split()[0] in drawn for words in commands)
