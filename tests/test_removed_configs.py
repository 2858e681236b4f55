"""Paths of removed configs load as another config with overrides, under their old names."""

import os
from pathlib import Path

import pytest

from ssl_ext.apis import load_config
from ssl_ext.config.locate import REMOVED, successor
from ssl_ext.detection import initialize
from ssl_ext.errors import UserError

ROOT = Path(__file__).parents[1]
FILES = {path.name: path for path in (ROOT / "configs").glob("**/*.py")}
OLD = ROOT / "configs/byol/byol_resnet50_1xb32-adam-80e_cifar10.py"
NEW = OLD.with_name("byol_resnet50_1xb128-sgd-80e_cifar10.py")


def test_removed_files_are_gone_and_their_successors_are_there():
    for name, (new, overrides) in REMOVED.items():
        assert name not in FILES and new in FILES, name
        assert load_config(FILES[new], overrides).to_dict() != load_config(FILES[new]).to_dict()


def test_removed_config_loads_with_its_values_and_keeps_its_name(monkeypatch):
    logged = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda message, **_: logged.append(message))
    old, new = load_config(OLD), load_config(NEW)
    assert old.train_dataloader.pop("batch_size") == 32
    assert new.train_dataloader.pop("batch_size") == 128
    assert old.optim_wrapper.pop("optimizer") == dict(type="Adam", lr=1e-3, weight_decay=1e-6)
    assert new.optim_wrapper.pop("optimizer") == dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=4e-4)
    assert old.pop("param_scheduler") == [] and new.pop("param_scheduler")[0].type == "CosineAnnealingLR"
    assert old.to_dict() == new.to_dict()
    # Work dirs and result rows take their names from it.
    assert (old.filename, new.filename) == (str(OLD), str(NEW))
    (line,) = logged
    assert line.startswith(f"Config '{OLD}' was replaced by '{NEW}' with ") and "batch_size=32" in line
    alternate = load_config(ROOT / "configs/tribyol/tribyol_resnet50_1xb128-adam-80e_stl10.py")
    assert alternate.model.target_update == "alternate"


def test_overrides_of_the_user_come_last():
    config = load_config(OLD, {"train_dataloader.batch_size": 16})
    assert config.train_dataloader.batch_size == 16


@pytest.mark.parametrize("folder", ["", "configs/byol/", "ssl_ext::byol/"])
def test_the_path_may_be_relative_or_of_the_package(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert successor(folder + OLD.name) == (folder + NEW.name, REMOVED[OLD.name][1])


def test_other_paths_stay_and_so_does_a_file_of_an_old_name(tmp_path):
    own = tmp_path / OLD.name
    own.write_text("train_dataloader = dict(batch_size=7)")
    assert successor(own) == (str(own), {})
    assert load_config(own).train_dataloader.batch_size == 7
    with pytest.raises(UserError, match=r"nowhere\.py' does not exist"):
        load_config(tmp_path / "nowhere.py")
    # The successor must be there.
    own.unlink()
    with pytest.raises(UserError, match="does not exist"):
        load_config(own)


@pytest.mark.parametrize("folder", ["", "{configs}/", "ssl_ext::byol/"])
def test_a_base_may_name_a_removed_config(folder, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda message, **_: logged.append(message))
    base = folder.format(configs=os.path.relpath(OLD.parent, tmp_path)) + OLD.name
    if not folder:
        (tmp_path / NEW.name).write_text("train_dataloader = dict(batch_size=128, num_workers=5)")
    middle = tmp_path / "middle.py"
    middle.write_text(f"_base_ = {base!r}")
    own = tmp_path / "own.py"
    own.write_text("_base_ = 'middle.py'\ntrain_dataloader = dict(num_workers=1)")
    config = load_config(own)
    assert (config.train_dataloader.batch_size, config.train_dataloader.num_workers) == (32, 1)
    assert config.filename == str(own)
    assert len(logged) == 1 and logged[0].endswith(" train_dataloader.batch_size=32.")
    if folder:
        expected = load_config(OLD).to_dict()
        expected["train_dataloader"]["num_workers"] = 1
        assert config.to_dict() == expected
    middle.write_text("_base_ = 'nowhere/byol_resnet50_1xb32-adam-80e_cifar10.py'")
    with pytest.raises(UserError, match="own.py' cannot be read: .*byol_resnet50_1xb128-sgd-80e_cifar10.py"):
        load_config(own)


def test_a_detector_may_name_a_removed_config():
    config = load_config(ROOT / "configs/benchmarks/detection/byol_resnet50-c4_8xb2-sgd-24k_voc0712.py")
    stl10 = "byol_resnet50_1xb32-adam-80e_stl10.py"
    config.init = dict(pretraining=str(OLD.with_name(stl10)))
    initialize(config)
    assert config.model.data_preprocessor.mean == load_config(OLD.with_name(stl10)).data_preprocessor.mean
