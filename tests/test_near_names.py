"""Errors name the nearest path, config, key or protocol, and what to do about a missing package or count."""

import subprocess
import sys
from pathlib import Path

import pytest

from ssl_ext.apis import evaluate, load_config, parse_options
from ssl_ext.config.networks import build_model
from ssl_ext.errors import UserError, run_tool
from ssl_ext.files import check_file

ROOT = Path(__file__).parents[1]
TRIMIX = "trimix/trimix_resnet18_1xb256-adam-200e_cifar10.py"


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (f"configs/{TRIMIX[:-5]}.py", f"configs/{TRIMIX}"),
        (f"ssl_ext::{TRIMIX[:-5]}.py", f"ssl_ext::{TRIMIX}"),
        (Path(TRIMIX).name[1:], f"ssl_ext::{TRIMIX}"),
        ("mine-2.py", "mine.py"),
    ],
)
def test_a_config_that_is_not_there(path, near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("")
    with pytest.raises(UserError, match=f"Config '{path}' does not exist; did you mean '{near}'\\?$"):
        load_config(path)


def test_a_path_that_is_not_there(tmp_path):
    (tmp_path / "runs/digits").mkdir(parents=True)
    (tmp_path / "runs/digits/epoch_100.pth").touch()
    for wrong, near in (("digits/epoch_10.pth", "epoch_100.pth"), ("digts/epoch_100.pth", "digits")):
        with pytest.raises(UserError, match=f"does not exist; did you mean '{near}'\\?$"):
            check_file(tmp_path / "runs" / wrong)
    with pytest.raises(UserError, match=r"does not exist\.$"):
        check_file(tmp_path / "else/where.pth")


def test_a_protocol_that_is_not_there(tiny_config):
    with pytest.raises(UserError, match=r"protocols: liner unknown; did you mean 'linear'\?"):
        evaluate(tiny_config, None, protocols=["liner"])
    with pytest.raises(UserError, match="protocols: zzz unknown; allowed are knn, linear"):
        evaluate(tiny_config, None, protocols=["zzz"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "model.type=SimCLR",
            r"SimCLR has no argument lam_per \(model\.lam_per\): if a base .* with _delete_=True\.",
        ),
        (
            "model.head.type=SimCLRHead",
            r"has no argument redundancy_weight \(model\.head\.redundancy_weight\): if",
        ),
        ("model.head.temperatur=1", r"\(model\.head\.temperatur\): did you mean model\.head\.temperature\?"),
        ("model.neck.num_layer=1", r"\(model\.neck\.num_layer\): did you mean model\.neck\.num_layers\?"),
    ],
)
def test_a_key_of_another_class(option, message):
    config = load_config(f"ssl_ext::{TRIMIX}", parse_options([option]))
    with pytest.raises(UserError, match=message):
        build_model(config)


def test_modules_of_the_user_are_found_beside_the_config(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_own_head.py").write_text(
        "from ssl_ext.models.selfsup.trimix_head import TriMixHead\n"
        "from ssl_ext.registry import MODELS\n\n"
        "@MODELS.register_module()\nclass MyOwnHead(TriMixHead):\n    pass\n"
    )
    (folder / "mine.py").write_text(
        f"_base_ = 'ssl_ext::{TRIMIX}'\ncustom_imports = dict(imports=['my_own_head'])\n"
        "model = dict(head=dict(type='MyOwnHead'))\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    model = build_model(load_config("project/mine.py"))
    assert type(model.head).__name__ == "MyOwnHead" and sys.path == before
    # And beside its base; a message about another one is short.
    (folder / "my_base.py").write_text("custom_imports = dict(imports=['my_own_module'])\n")
    (folder / "my_own_module.py").touch()
    (tmp_path / "written.py").write_text(f"_base_ = '{folder}/my_base.py'\n")
    load_config("written.py")
    (tmp_path / "lost.py").write_text("custom_imports = dict(imports=['my_lost_module'])\n")
    with pytest.raises(UserError, match="custom_imports: No module named 'my_lost_module'; ") as error:
        load_config("lost.py")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("arguments", [["--work-dir", "run"], ["two"], [""]])
def test_the_number_of_processes_forgotten(arguments):
    tool = ["bash", ROOT / "tools/dist_train.sh", "config.py", *arguments]
    ended = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        f"error: '{arguments[0]}' is not a number of processes: tools/dist_train.sh"
    )


def test_a_package_that_is_not_installed(capsys):
    def fail():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(SystemExit, match="2"):
        run_tool(fail)
    assert "has no package 'torch': activate the environment" in capsys.readouterr().err
