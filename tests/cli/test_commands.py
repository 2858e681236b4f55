"""Console command, names listed by options, and configs named ``ssl_ext::…``."""

import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.visualization import Visualizer as MMEngineVisualizer

from ssl_ext import names
from ssl_ext.apis import load_config
from ssl_ext.cli import __main__ as console
from ssl_ext.cli import train
from ssl_ext.config.locate import config_file
from ssl_ext.engine import Visualizer
from ssl_ext.exporting import FORMATS
from ssl_ext.models.utils.mixing import POLICIES

ROOT = Path(__file__).parents[2]
DIGITS = "trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"


def test_listed_names_are_those_of_the_code():
    assert tuple(FORMATS) == names.EXPORT_FORMATS
    assert tuple(n for n in POLICIES if n not in ("manifoldmix", "inter_intra")) == names.DRAWN_POLICIES


def test_the_console_command_has_every_tool_but_benchmark():
    doors = {path.stem.replace("_", "-") for path in (ROOT / "tools").glob("[!_]*.py")}
    assert set(console.COMMANDS) == doors - {"benchmark"}


def test_the_console_command_hands_the_arguments_on(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ssl-ext", "train", "--help"])
    with pytest.raises(SystemExit, match="0"):
        console.main()
    said = capsys.readouterr().out
    assert said.startswith("usage: ssl-ext train ") and "--resume" in said
    monkeypatch.setattr(sys, "argv", ["ssl-ext", "sweep", "no.py", "a=1,2", "--", "--amp"])
    with pytest.raises(SystemExit, match="2"):
        console.main()
    assert capsys.readouterr().err == "error: Config 'no.py' does not exist.\n"
    monkeypatch.setattr(sys, "argv", ["ssl-ext", "benchmark"])
    with pytest.raises(SystemExit, match="2"):
        console.main()
    assert "invalid choice: 'benchmark'" in capsys.readouterr().err


def test_a_run_that_is_resumed_needs_its_initial_weights_no_more(tiny_config_file, monkeypatch):
    calls = []
    monkeypatch.setattr("ssl_ext.apis.pretrain", lambda config, **args: calls.append(args))
    train.main([str(tiny_config_file), "--resume", "--init", "gone.pth", "--cfg-options", "a.b=[1,2]"])
    assert calls[0]["resume"] == "auto" and calls[0]["init"] == "gone.pth"
    assert calls[0]["options"] == {"a.b": [1, 2]}


def test_a_shipped_config_is_the_same_by_path_by_package_and_as_a_base(tmp_path, monkeypatch):
    expected = load_config(ROOT / "configs" / DIGITS).to_dict()
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(f'_base_ = "ssl_ext::{DIGITS}"\ntrain_cfg = dict(max_epochs=1)\n')
    assert load_config(f"ssl_ext::{DIGITS}").to_dict() == expected
    expected["train_cfg"]["max_epochs"] = 1
    assert load_config("own.py").to_dict() == expected


def test_a_removed_config_is_found_in_the_package():
    removed, kept = (f"byol/byol_resnet50_1xb{stem}-80e_stl10.py" for stem in ("32-adam", "128-sgd"))
    assert config_file(f"ssl_ext::{removed}").samefile(ROOT / "configs" / kept)
    config = load_config(f"ssl_ext::{removed}")
    assert config.train_dataloader.batch_size == 32 and config.filename == f"ssl_ext::{removed}"


def test_the_visualizer_draws_what_mmengines_does():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    ours, theirs = Visualizer(image=image), MMEngineVisualizer(image=image)
    for visualizer in (ours, theirs):
        visualizer.draw_bboxes(np.array([2, 2, 9, 9]))
    np.testing.assert_array_equal(ours.get_image(), theirs.get_image())
    assert not hasattr(ours, "no_such")


@pytest.mark.parametrize(
    "command", [["table", "trimix_table1", "--dry-run"], ["sweep", f"ssl_ext::{DIGITS}", "model.a=1"]]
)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ampp"], "unrecognized arguments: --ampp"),
        (["--deterministic", "--seed", "3"], "--seed after '--' would be that of every training"),
        (["--epochs", "2"], "give it before '--' as --cfg-options train_cfg.max_epochs=N"),
    ],
)
def test_arguments_of_every_training_are_checked_first(command, words, said, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ssl-ext", *command, "--", *words])
    with pytest.raises(SystemExit, match="2"):
        console.main()
    assert said in capsys.readouterr().err


def test_a_config_in_another_folder_finds_the_modules_of_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("module_of_a_user.py").write_text("")
    Path("own.py").write_text("custom_imports = dict(imports=['module_of_a_user'])\n")
    Path("work_dirs").mkdir()
    Path("work_dirs/own_mine.py").write_text("_base_ = '../own.py'\n")
    try:
        load_config("work_dirs/own_mine.py")
        assert "module_of_a_user" in sys.modules
    finally:
        sys.modules.pop("module_of_a_user", None)
