"""A wheel, built from the source distribution and installed, trains in an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIGITS = "ssl_ext::trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "configs", "ssl_ext")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(command, folder, **environment):
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_an_installed_wheel_trains_the_digits_in_an_empty_folder(tmp_path):
    source, site, empty = (tmp_path / name for name in ("source", "site", "empty"))
    for folder in (source, empty):
        folder.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    run([sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path)], source)
    (archive,) = tmp_path.glob("*.tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    run([sys.executable, *PIP, "install", *offline, "--target", str(site), str(archive)], tmp_path)

    assert (site / "ssl_ext/py.typed").is_file() and list((site / "ssl_ext").rglob("*.j2"))
    configs = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.py")}
    shipped = site / "ssl_ext/.mim/configs"
    assert {path.relative_to(shipped) for path in shipped.rglob("*.py")} == configs

    # A user's config that inherits from a shipped config, and the shipped config.
    (empty / "own.py").write_text(f'_base_ = "{DIGITS}"\ntrain_cfg = dict(max_epochs=1)\n')
    command = [sys.executable, str(site / "bin/ssl-ext"), "train"]
    options = ["--cfg-options", "default_hooks.checkpoint.interval=1"]
    run([*command, "own.py", "--work-dir", "run", *options], empty, PYTHONPATH=str(site))
    assert (empty / "run/epoch_1.pth").is_file()
    where = "import ssl_ext.config.locate as m; print(m.__file__, m.config_file(__import__('sys').argv[1]))"
    places = run([sys.executable, "-c", where, DIGITS], empty, PYTHONPATH=str(site)).split()
    assert all(place.startswith(str(site)) for place in places)
