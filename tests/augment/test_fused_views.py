"""The kernel for views of small images, interpreted and compiled without a GPU; the choice of the form."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from ssl_ext import augment as a
from ssl_ext.augment import fused, views

sys.path.insert(0, str(Path(__file__).parent))
import fused_cases
from fused_cases import CASES, numbers_of

IMAGES = torch.randint(0, 256, (6, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def simclr(*tail):
    return a.AugmentationSequence(
        [
            a.RandomResizedCrop(16, scale=(0.2, 1.0)),
            a.RandomHorizontalFlip(),
            a.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            a.RandomGrayscale(0.2),
            *tail,
        ]
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_interpreted_kernel_equals_the_batched_operations():
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, fused_cases.__file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The compiler's own classes, which these tests call, had other arguments before; users' calls did not change.
INTERFACE = "3.3"


class Recorder:
    """Takes the place of a kernel and keeps the arguments of its launch."""

    def __init__(self, kernel):
        self.kernel, self.arguments = kernel, {}

    def __getitem__(self, grid):
        def launch(*args, num_warps, **constants):
            self.arguments = dict(zip(self.kernel.arg_names, args, strict=False)) | constants
            self.num_warps = num_warps

        return launch


def source_of(sequence, shape, monkeypatch):
    """The kernel with the constants of a sequence, and the options it is launched with."""
    from triton.compiler import ASTSource

    from ssl_ext.augment import fused_kernel

    kernel = fused_kernel.views_kernel
    recorder = Recorder(kernel)
    # Operations after the kernel would read uninitialised pixels.
    sequence = a.AugmentationSequence([member for member, _ in fused.plan(sequence).taken.values()])
    with monkeypatch.context() as patch:
        patch.setattr(fused_kernel, "views_kernel", recorder)
        images = torch.zeros(shape, dtype=torch.uint8)
        fused.fused_views(sequence, images, numbers_of(sequence, images))
    kinds = {torch.uint8: "*u8", torch.float32: "*fp32"}
    constants = {p.name for p in kernel.params if p.is_constexpr}
    signature = {
        name: "constexpr" if name in constants else kinds[value.dtype] if torch.is_tensor(value) else "i32"
        for name, value in recorder.arguments.items()
    }
    values = {name: recorder.arguments[name] for name in constants}
    return ASTSource(fn=kernel, signature=signature, constexprs=values), {"num_warps": recorder.num_warps}


@pytest.mark.parametrize(("side", "tail"), [(32, ()), (28, (a.GaussianBlur(9), a.RandomSolarize()))])
def test_kernel_compiles_for_a_gpu_without_stack(side, tail, tmp_path, monkeypatch):
    triton = pytest.importorskip("triton", minversion=INTERFACE)
    from triton.backends.compiler import GPUTarget

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.is_file():
        pytest.skip("Triton came without cuobjdump")
    sequence = a.AugmentationSequence(
        [
            a.RandomResizedCrop(),
            a.RandomHorizontalFlip(),
            a.ColorJitter(0.4, 0.4, 0.4, 0.1),
            a.RandomGrayscale(),
            *tail,
            a.Normalize([0.5] * 3, [0.2] * 3),
        ]
    )
    source, options = source_of(sequence, (2, 3, side, side), monkeypatch)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    usage = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    (stack,) = re.findall(r"STACK:(\d+)", usage)
    assert stack == "0", usage


def first_pass(source, options):
    """The kernel as Triton reads it, for an H100."""
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import make_backend

    target = GPUTarget("cuda", 90, 32)
    backend, context = make_backend(target), ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    parsed = backend.parse_options(options)
    implementation = backend.get_codegen_implementation(parsed)
    return source.make_ir(target, parsed, implementation, backend.get_module_map(), context)


@pytest.mark.parametrize("name", CASES)
def test_kernel_of_every_case_has_one_shape_for_each_name(name, monkeypatch):
    """The compiler's first pass, which checks types and shapes; the interpreter does not."""
    pytest.importorskip("triton", minversion=INTERFACE)
    members, shape, _ = CASES[name]
    source, options = source_of(a.AugmentationSequence(members), shape, monkeypatch)
    assert "tt.func" in str(first_pass(source, options))


@pytest.mark.parametrize("few", [0, 1 << 17], ids=["view by view", "together"])
@pytest.mark.parametrize("tail", [(), (a.GaussianBlur(3, p=0.5), a.RandomSharpness(p=0.5))])
def test_views_are_those_of_calls_one_after_the_other(few, tail, monkeypatch):
    monkeypatch.setattr(views, "JOINT", few)
    sequence, random, other = simclr(*tail), seeded(), seeded()
    drawn = a.draw_views(sequence, IMAGES, 3, random)
    for view in drawn:
        torch.testing.assert_close(view, sequence(IMAGES, other), atol=1e-5, rtol=0)
    assert len(drawn) == 3
    assert torch.equal(torch.rand(3, generator=random), torch.rand(3, generator=other))


def test_views_of_no_image_and_on_tensors_without_data():
    assert [v.shape for v in a.draw_views(simclr(), IMAGES[:0], 2)] == [(0, 3, 16, 16)] * 2
    # Every wait for a result raises on tensors without data.
    drawn = a.draw_views(simclr(a.RandomEqualize()), IMAGES.to("meta"), 2, seeded())
    assert [v.shape for v in drawn] == [(6, 3, 16, 16)] * 2


def test_kernel_is_for_small_images_of_one_or_three_channels():
    def takes(*shape, dtype=torch.uint8, sequence=None):
        sequence = simclr() if sequence is None else sequence
        return fused.is_fusible(sequence, torch.empty(shape, dtype=dtype), sequence.output_shape(shape))

    assert takes(2, 3, 32, 32) and takes(2, 1, 5, 32)
    assert not takes(2, 3, 33, 32) and not takes(2, 3, 32, 32, dtype=torch.float32)
    assert not takes(2, 2, 8, 8, sequence=a.AugmentationSequence([a.RandomHorizontalFlip()]))
    assert not takes(2, 3, 8, 8, sequence=a.AugmentationSequence([a.RandomRotation(3)]))
    assert not takes(2, 3, 8, 8, sequence=a.AugmentationSequence([a.RandomResizedCrop(64)]))


def test_without_a_c_compiler_triton_is_not_used(monkeypatch):
    monkeypatch.setattr(fused.importlib.util, "find_spec", lambda name: name)
    monkeypatch.delenv("CC", raising=False)
    for compiler in ("clang", None):
        monkeypatch.setattr(
            fused.shutil, "which", lambda name, wanted=compiler: name if name == wanted else None
        )
        fused.has_triton.cache_clear()
        expected = nullcontext() if compiler else pytest.warns(UserWarning, match="no C compiler")
        with expected:
            assert fused.has_triton() == bool(compiler)
    fused.has_triton.cache_clear()
