"""Starting is quick: nothing heavy before the arguments are right, and nothing that training does not use."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIGITS = "ssl_ext::trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py"

BEFORE = """
import importlib, json, sys
from ssl_ext.cli.__main__ import COMMANDS
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
    ("train", CONFIG, "--resume", "no.pth"): "--resume 'no.pth' is not a file; give a checkpoint, or 'auto' "
    "for the newest one.",
    ("evaluate", "no.py"): "Config 'no.py' does not exist.",
    ("evaluate", CONFIG, "no.pth"): "Checkpoint 'no.pth' does not exist.",
    ("evaluate", CONFIG, "--transfer-to", CONFIG, "no.py"): "Config 'no.py' does not exist.",
    ("export", "no.pth", "--to", "timm"): "Checkpoint 'no.pth' does not exist.",
    ("report", "."): None,
    ("report", "no"): "'no' does not exist.",
    ("report", ".", "--references", "no.yml"): "'no.yml' does not exist.",
    ("sweep", "no.py", "a=1,2"): "Config 'no.py' does not exist.",
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
del WRONG["report", "."]


def python(program, *arguments, path=(), **options):
    """Run a program in another interpreter; the folders of ``path`` come first in its search path."""
    program = f"import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n{textwrap.dedent(program)}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_and_wrong_paths_are_answered_before_torch_is_imported(tmp_path):
    (tmp_path / "config.py").write_text("")
    commands = ("train", "evaluate", "export", "report", "sweep", "visualize")
    expected = {(command, "--help"): 0 for command in commands} | WRONG
    lines = [[word.format(config="config.py") for word in line] for line in expected]
    # Help is printed, too; the answers are the last line.
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
UNUSED = ("matplotlib", "pandas", "sklearn", "scipy", "torchmetrics", "transformers", "pycocotools", "timm")
# Version 5 gives None for what it no longer has; some versions of MMPretrain derive classes from that.
TRANSFORMERS_5 = """
PreTrainedModel = None

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
"""


@pytest.fixture
def transformers_5(tmp_path):
    """A folder with a package that looks like ``transformers`` 5 to MMPretrain."""
    folder = tmp_path / "site"
    (folder / "transformers/models/auto").mkdir(parents=True)
    (folder / "transformers-5.0.0.dist-info").mkdir()
    (folder / "transformers-5.0.0.dist-info/METADATA").write_text("Name: transformers\\nVersion: 5.0.0\\n")
    for place in ("", "models", "models/auto"):
        (folder / "transformers" / place / "__init__.py").write_text(TRANSFORMERS_5)
    for place in ("models/auto/auto_factory", "activations", "modeling_outputs", "modeling_utils"):
        (folder / f"transformers/{place}.py").write_text(TRANSFORMERS_5)
    return folder


def test_training_starts_beside_transformers_5_and_imports_only_what_it_uses(transformers_5, tmp_path):
    ended = python(FIRST_STEP, DIGITS, "--work-dir", "run", path=[transformers_5], cwd=tmp_path)
    imported = set(json.loads(ended.stdout.splitlines()[-1]))
    assert not {name for name in imported if name.partition(".")[0] in UNUSED}
    assert not {name for name in imported if name.startswith("mmpretrain.models.multimodal.")}
    # Named, the multimodal models are imported, and that fails in their own words.
    assert "mmpretrain/models/multimodal/blip" in ended.stderr and "NoneType" in ended.stderr


WORKING = """
import importlib.machinery, types

class Package(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), dict(from_pretrained=classmethod(lambda cls, *a, **k: None)))

class Finder:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "transformers":
            return importlib.machinery.ModuleSpec(name, Finder)
    def create_module(spec):
        return Package(spec.name)
    def exec_module(module):
        pass

sys.meta_path.insert(0, Finder)
"""
USES = {
    "built": """
        try:
            MODELS.build(dict(type="BlipCaption"))
        except TypeError as error:
            assert "BlipCaption" in str(error) and "missing" in str(error), error
    """,
    "imported": "from mmpretrain.models.multimodal.blip import BlipCaption",
    "an attribute": "import mmpretrain.models; mmpretrain.models.multimodal.BlipCaption",
}


@pytest.mark.parametrize("use", USES)
def test_a_multimodal_model_is_there_when_it_is_used(use, transformers_5, tmp_path):
    program = f"""
from ssl_ext.registry import MODELS, registered
assert not any(name.startswith("mmpretrain.models.multimodal.") for name in sys.modules)
assert registered("BlipCaption") is None
{textwrap.dedent(USES[use])}
found = MODELS.get("BlipCaption")
assert found.__module__ == "mmpretrain.models.multimodal.blip.blip_caption", found
import mmpretrain.models
assert mmpretrain.models.utils.register_hf_model
assert registered("BlipCaption") is None and registered("ResNet").__name__ == "ResNet"
"""
    ended = python(WORKING + program, path=[transformers_5])
    assert ended.returncode == 0, ended.stderr
