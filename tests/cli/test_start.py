"""Start-up imports: no heavy ones before arguments are checked, and none that training does not use."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ssl_ext.cli.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
DIGITS = "ssl_ext::trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"

BEFORE = """
import importlib, json, sys
from ssl_ext.errors import UserError

answers = {}
for line in json.loads(sys.argv[1]):
    command, *words = line
    try:
        importlib.import_module(f"ssl_ext.cli.{command}").main(words)
    except UserError as error:
        answers[" ".join(line)] = str(error)
    except SystemExit as end:
        answers[" ".join(line)] = end.code
print(json.dumps([answers, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
CONFIG = "{config}"
WRONG = {
    ("train", "no.py"): "Config 'no.py' does not exist.",
    ("train", "ssl_ext::no.py"): "Config 'ssl_ext::no.py' does not exist.",
    ("train", CONFIG, "--init", "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("train", CONFIG, "--resume", "no.pth"): "--resume 'no.pth' does not exist; give a checkpoint, or 'auto' "
    "for the newest one.",
    ("evaluate", "no.py"): "Config 'no.py' does not exist.",
    ("evaluate", CONFIG, "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("evaluate", CONFIG, "--transfer-to", CONFIG, "no.py"): "Config 'no.py' does not exist.",
    ("audit", "no.py"): "Config 'no.py' does not exist.",
    ("audit", CONFIG, "--out", "."): "--out '.' is a folder; give a file.",
    ("pack", "no"): "Config 'no' does not exist.",
    ("pack", "."): "Give the folder of the pack: ssl-ext pack SOURCE OUT.",
    ("explore", "no"): "'no' does not exist.",
    ("explore", ".", "--config", "no.py"): "Config 'no.py' does not exist.",
    ("explore", ".", "--out", "."): "--out '.' is a folder; give a file.",
    ("export", "no.pth", "--to", "timm"): "Checkpoint 'no.pth' does not exist.",
    ("predict", "no.pth", "."): "Checkpoint 'no.pth' does not exist.",
    ("report", "no"): "'no' does not exist.",
    ("report", ".", "--references", "no.yml"): "'no.yml' does not exist.",
    ("sweep", "no.py", "a=1,2"): "Config 'no.py' does not exist.",
    ("table", "trimix_tabel1"): "'trimix_tabel1' does not exist; did you mean 'trimix_table1'?",
    ("table",): "Give a table file, or the name of one in configs/papers.",
    ("table", "trimix_table1", "--workers", "0"): "--workers 0: at least 1 is needed.",
    ("table", "--work", "no"): "--work 'no' has no plan.json: give the folder of a planned table.",
    ("visualize", "views", "no.py"): "Config 'no.py' does not exist.",
    ("visualize", "curves", "no"): "'no' does not exist.",
    ("visualize", "scores", "no.json"): "'no.json' does not exist.",
    ("visualize", "embed", CONFIG, "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("visualize", "mixing", CONFIG, "--trained", "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("visualize", "mixing", CONFIG, "--weights", "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("visualize", "confusion", "no.json"): "'no.json' does not exist.",
    ("visualize", "confusion", CONFIG, "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("visualize", "grid", "no"): "'no' does not exist.",
}


def python(program, *arguments, path=(), **options):
    """Run a program in a new interpreter with the folders of ``path`` first in its search path."""
    program = f"import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n{textwrap.dedent(program)}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_and_wrong_paths_are_answered_before_torch_is_imported(tmp_path):
    (tmp_path / "config.py").write_text("")
    expected = {(command, "--help"): 0 for command in COMMANDS} | WRONG
    lines = [[word.format(config="config.py") for word in line] for line in expected]
    # The output includes help texts; the answers are the last line.
    ended = python(BEFORE, json.dumps(lines), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    answers, imported = json.loads(ended.stdout.splitlines()[-1])
    assert list(answers.values()) == list(expected.values())
    assert not {"torch", "mmengine", "mmcv", "numpy", "rich", "matplotlib"} & set(imported)


FIRST_STEP = """
import json, sys
import ssl_ext.cli.train
from ssl_ext.engine import FirstStepHook

def stop(self, *args, **kwargs):
    raise KeyboardInterrupt

FirstStepHook.after_train_iter = stop
try:
    ssl_ext.cli.train.main(sys.argv[1:])
except KeyboardInterrupt:
    pass
print(json.dumps(sorted(sys.modules)))
from ssl_ext.registry import MODELS
MODELS.build(dict(type="BlipCaption"))
"""
UNUSED = {"matplotlib", "pandas", "sklearn", "scipy", "torchmetrics", "pycocotools", "timm"}
# A stub of transformers whose modules have all names that MMPretrain's definitions need.
TRANSFORMERS = """
import importlib.machinery, sys

class Auto:
    from_pretrained = from_config = get_logger = classmethod(lambda cls, *args, **kwargs: None)
    def __init__(self, *args, **kwargs):
        pass
    def __call__(self, decorated):
        return decorated

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    if name in ("_BaseAutoModelClass", "PreTrainedModel"):
        return Auto
    return type(name, (Auto,), {{}})

class Finder:
    def find_spec(name, path=None, target=None):
        if name.startswith("transformers."):
            return importlib.machinery.ModuleSpec(name, Finder, is_package=True)
    def create_module(spec):
        return None
    def exec_module(module):
        module.__getattr__ = __getattr__
        if {pretrained} is None:
            module.PreTrainedModel = None

if {pretrained} is None:
    PreTrainedModel = None
sys.meta_path.append(Finder)
"""


@pytest.fixture
def transformers(tmp_path):
    """Create a folder with a stub of ``transformers`` of a given version."""

    def make(version, pretrained):
        about = tmp_path / f"site/transformers-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: transformers\nVersion: {version}\n")
        package = tmp_path / "site/transformers"
        package.mkdir()
        (package / "__init__.py").write_text(TRANSFORMERS.format(pretrained=pretrained))
        return tmp_path / "site"

    return make


def test_training_starts_beside_transformers_5_and_imports_only_what_it_uses(transformers, tmp_path):
    site = transformers("5.0.0", pretrained=None)
    ended = python(FIRST_STEP, DIGITS, "--work-dir", "run", path=[site], cwd=tmp_path)
    assert ended.stdout, ended.stderr
    imported = set(json.loads(ended.stdout.splitlines()[-1]))
    assert UNUSED & {name.partition(".")[0] for name in imported} == set()
    assert not {name for name in imported if name.startswith("mmpretrain.models.multimodal.")}
    # A multimodal model that is named is imported, which fails with the original error.
    assert "class BertPreTrainedModel(PreTrainedModel)" in ended.stderr, ended.stderr


# Each in its own process, forked after the common imports.
USES = """
import os, traceback
from ssl_ext.registry import MODELS, registered
import mmpretrain.models

def loaded():
    return any(name.startswith("mmpretrain.models.multimodal.") for name in sys.modules)

def build():
    try:
        MODELS.build(dict(type="BlipCaption"))
    except TypeError as error:
        assert "BlipCaption" in str(error) and "missing" in str(error), error

def import_it():
    from mmpretrain.models.multimodal.blip import BlipCaption

def take_the_attribute():
    mmpretrain.models.multimodal.BlipCaption

assert not loaded() and registered("BlipCaption") is None and not loaded()
for use in (build, import_it, take_the_attribute):
    child = os.fork()
    if child == 0:
        try:
            use()
            found = MODELS.get("BlipCaption")
            assert found.__module__ == "mmpretrain.models.multimodal.blip.blip_caption", found
            assert mmpretrain.models.utils.register_hf_model
            assert registered("BlipCaption") is None and registered("ResNet").__name__ == "ResNet"
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, use
"""


def test_a_multimodal_model_is_there_when_it_is_used(transformers):
    ended = python(USES, path=[transformers("4.40.0", pretrained="Auto")])
    assert ended.returncode == 0, ended.stderr
