"""A wheel, built from the source distribution and installed, trains in an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
DIGITS = "ssl_ext::trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "configs", "ssl_ext")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(command, folder, **environment):
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel that was built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    run([sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(folder)], source)
    (archive,) = folder.glob("*.tar.gz")
    run([sys.executable, *PIP, "wheel", *OFFLINE, "--wheel-dir", str(folder), str(archive)], folder)
    (built,) = folder.glob("*.whl")
    return built


def test_an_installed_wheel_trains_the_digits_in_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    run([sys.executable, *PIP, "install", *OFFLINE, "--target", str(site), str(wheel)], tmp_path)

    assert (site / "ssl_ext/py.typed").is_file() and list((site / "ssl_ext").rglob("*.j2"))
    assert all((site / "ssl_ext/apis/explore" / name).is_file() for name in ("page.js", "page.css"))
    configs = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.py")}
    shipped = site / "ssl_ext/.mim/configs"
    assert {path.relative_to(shipped) for path in shipped.rglob("*.py")} == configs

    # A user's config that inherits from a shipped config, and the shipped config.
    (empty / "own.py").write_text(f'_base_ = "{DIGITS}"\ntrain_cfg = dict(max_epochs=1)\n')
    command = [sys.executable, str(site / "bin/ssl-ext"), "train"]
    options = ["--cfg-options", "default_hooks.checkpoint.interval=1", "model.neck.in_channels=32"]
    options += [f"model.backbone.{part}_channels=4" for part in ("stem", "base")]
    run([*command, "own.py", "--work-dir", "run", *options], empty, PYTHONPATH=str(site))
    assert (empty / "run/epoch_1.pth").is_file()
    where = "import ssl_ext.config.locate as m; print(m.__file__, m.config_file(__import__('sys').argv[1]))"
    places = run([sys.executable, "-c", where, DIGITS], empty, PYTHONPATH=str(site)).split()
    assert all(place.startswith(str(site)) for place in places)


@pytest.mark.slow
def test_the_first_hour_of_a_user_with_a_wheel_follows_the_readme(wheel, tmp_path):
    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images[:200], labels[:200], strict=True)):
        path = tmp_path / f"photos/{label}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("uint8").reshape(8, 8)).resize((32, 32)).save(path)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    folder = str(tmp_path / "empty")
    command = ["bash", str(ROOT / "tests/first_hour.sh"), str(wheel), str(tmp_path / "photos"), folder]
    said = run(command, tmp_path, PATH=path, REUSE="1", EPOCHS="1")
    assert "explore.html" in said and "_torchvision.pth" in said
