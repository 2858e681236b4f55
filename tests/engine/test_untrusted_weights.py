"""Reading weights from any source never runs code from the file."""

import hashlib
import pickle
import re
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

import ssl_ext
from ssl_ext.engine.weights.files import read_weights
from ssl_ext.errors import TRACEBACK_SWITCH, UserError, run_tool

ROOT = Path(ssl_ext.__file__).parent


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def evil(tmp_path, marker):
    torch.save(dict(state_dict=dict(w=Touch(marker))), tmp_path / "evil.pth")
    return tmp_path / "evil.pth"


@pytest.fixture
def fetched(monkeypatch, tmp_path, evil):
    """Make every address return the same file."""
    hub = tmp_path / "hub"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))

    def fetch(url, path, hash_prefix=None, progress=True):
        Path(path).write_bytes(evil.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    known = {"net": "https://example.org/net.pth"}
    for name in ("get_torchvision_models", "get_external_models", "get_mmcls_models"):
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: known)
    monkeypatch.setattr(mmengine_checkpoint, "get_deprecated_model_names", dict)
    monkeypatch.setattr(
        mmengine_checkpoint,
        "get_file_backend",
        lambda name, **_: type("Backend", (), dict(get=lambda self, path: evil.read_bytes()))(),
    )


@pytest.mark.parametrize(
    "address",
    [
        "{evil}",
        "http://example.org/a.pth",
        "https://example.org/b.pth?download=1",
        "torchvision://net",
        "modelzoo://net",
        "open-mmlab://net",
        "openmmlab://net",
        "mmcls://net",
        "s3://bucket/net.pth",
        "cluster:s3://bucket/net.pth",
        "petrel://bucket/net.pth",
    ],
)
def test_every_address_is_read_safely(address, evil, marker, fetched):
    address = address.format(evil=evil)
    with pytest.raises(UserError, match="rejected"):
        CheckpointLoader.load_checkpoint(address)
    net = BaseModule(init_cfg=dict(type="Pretrained", checkpoint=address))
    with pytest.raises(UserError, match="rejected"):
        net.init_weights()
    assert not marker.exists()


def test_a_scheme_that_is_added_by_mmengine_is_looked_at():
    """New schemes must be covered above."""
    assert set(CheckpointLoader._schemes) == {
        *("", "http://", "https://", "torchvision://", "modelzoo://", "open-mmlab://", "openmmlab://"),
        *("mmcls://", "pavi://", r"(\S+\:)?s3://", r"(\S+\:)?petrel://"),
    }


def test_weights_from_an_address_with_another_hash_are_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    torch.save(dict(w=torch.ones(2)), tmp_path / "source.pth")
    digest = hashlib.sha256((tmp_path / "source.pth").read_bytes()).hexdigest()[:8]
    right, wrong = (f"{tmp_path}/net-{name}.pth" for name in (digest, "0badbad0"))
    for path in (right, wrong):
        Path(path).write_bytes((tmp_path / "source.pth").read_bytes())
    load = CheckpointLoader._schemes["https://"]
    assert load(f"file://{right}")["w"].tolist() == [1, 1]
    with pytest.raises(UserError, match="invalid hash"):
        load(f"file://{wrong}")
    assert [path.name for path in (tmp_path / "hub/checkpoints").iterdir()] == [Path(right).name]


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors", ".npz", ""])
def test_a_pickle_under_any_name_is_refused(tmp_path, marker, suffix):
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(pickle.dumps(dict(model=Touch(marker))))
    with pytest.raises(UserError, match=re.escape(str(path))):
        read_weights(path)
    assert not marker.exists()


def test_in_a_tool_no_library_unpickles_with_torch(evil, marker, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    monkeypatch.delenv(TRACEBACK_SWITCH, raising=False)
    with pytest.raises(pickle.UnpicklingError):
        run_tool(lambda: torch.load(evil, weights_only=False))
    assert not marker.exists()
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    torch.load(evil, weights_only=False)
    assert marker.exists()  # the file does run code when unpickled


UNSAFE = re.compile(
    r"allow_pickle=True|weights_only=False|\bpickle\.loads?\(|\beval\(|\bexec\(|yaml\.(unsafe_|full_)?load\("
    r"|extractall\(|torch\.jit\.load|joblib\.load|shell=True|os\.system|marshal|shelve"
)
KNOWN = {"datasets/archives.py": 2}
LOADS = re.compile(r"(?<!\w)(torch|np|numpy)\.load\(")


def test_unsafe_calls_stand_nowhere_else():
    found = {}
    for path in ROOT.rglob("*.py"):
        code = path.read_text()
        name = str(path.relative_to(ROOT))
        if count := len(
            [hit for hit in UNSAFE.finditer(code) if ".eval(" not in code[hit.start() - 1 : hit.end()]]
        ):
            found[name] = count
        for call in LOADS.finditer(code):
            assert re.search(r"weights_only=True|allow_pickle=False", code[call.end() : call.end() + 120]), (
                name
            )
    assert found == KNOWN
