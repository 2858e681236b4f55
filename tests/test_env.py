"""The environment report and the check for two OpenMMLab families."""

import platform
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from ssl_ext import __version__, env

ONEDL = {"onedl-mmengine": "0.10.7", "onedl-mmcv": "2.2.0", "onedl-mmpretrain": "1.3.0"}


@pytest.fixture
def installed(monkeypatch):
    """Makes only the given distributions look installed."""

    def pretend(versions):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(env.metadata, "version", version)

    return pretend


def test_module_prints_what_a_bug_report_needs():
    done = subprocess.run(
        [sys.executable, "-m", "ssl_ext.env"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines["ssl_ext"] == __version__
    assert lines["python"] == platform.python_version()
    assert lines["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert lines["OpenMMLab family"] in ("onedl", "upstream")
    assert "threads in torch" in lines["CPU"]
    assert lines["process group"] == "none (started without torchrun)"
    assert "gloo" in lines["distributed backends"]


def test_two_families_are_refused_with_the_way_out(installed, capsys):
    installed({**ONEDL, "mmcv-lite": "2.1.0"})
    with pytest.raises(ImportError, match="Both OpenMMLab families") as error:
        env.check_openmmlab_family()
    message = str(error.value)
    assert "pip uninstall -y onedl-mmengine onedl-mmcv onedl-mmpretrain mmcv-lite" in message
    assert "pip install onedl-mmengine onedl-mmcv onedl-mmpretrain" in message
    assert env.main() == 1
    shown = capsys.readouterr()
    assert "onedl AND upstream" in shown.out
    assert shown.err.startswith("error: Both OpenMMLab families")


def test_importing_the_registry_checks_first():
    # In a new process, because modules that are already imported are not checked again.
    code = (
        "import importlib.metadata as m; real = m.version\n"
        "m.version = lambda name: '2.1.0' if name == 'mmcv' else real(name)\n"
        "import ssl_ext.registry"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: Both OpenMMLab families" in done.stderr


def test_missing_packages_are_named(installed):
    installed({"onedl-mmengine": "0.10.7"})
    with pytest.raises(ImportError, match="pip install onedl-mmcv onedl-mmpretrain"):
        env.check_openmmlab_family()


@pytest.mark.parametrize(
    "versions", [ONEDL, {"mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmpretrain": "1.2.0"}]
)
def test_one_family_is_enough(installed, versions):
    installed(versions)
    env.check_openmmlab_family()
    assert env.package_versions().items() >= versions.items()


def test_report_names_the_process_group(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert "process group: rank 2 of 4" in env.report()


def test_part_of_the_upstream_family_is_refused(installed):
    installed({"mmcv": "2.2.0"})
    with pytest.raises(ImportError, match="pip uninstall -y mmcv && pip install onedl-mmengine onedl-mmcv"):
        env.check_openmmlab_family()
