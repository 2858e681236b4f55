"""``benchmark.py memory``: memory of a training step, plain and with memory-saving options."""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ssl_ext.engine.activation_checkpointing import recompute_stages
from ssl_ext.env import peak_resident_bytes
from ssl_ext.errors import UserError
from ssl_ext.processes import in_a_new_process

from .compare import MIB, table
from .options import CONFIGS
from .workload import add_training, model_in_training, random_batch, training_config

# For each method the config for CIFAR or for the most similar data set.
METHODS = {
    "amix": "amix/amix_resnet18_1xb100-sgd-800e_cifar100",
    "amix-c": "amix_ssl/amix-c_resnet18_1xb256-sgd-400e_tiny-imagenet",
    "amix-i": "amix_ssl/amix-i_resnet18_1xb256-sgd-400e_tiny-imagenet",
    "automix": "automix/automix_resnet18_1xb100-sgd-800e_cifar100",
    "barlow-twins": "barlow_twins/barlow-twins_resnet18_1xb256-adam-200e_cifar10",
    "byol": "byol/byol_resnet18_1xb256-adam-200e_cifar10",
    "cross": "cross/cross_resnet18_1xb256-adam-200e_cifar10",
    "jaccard-moco": "jaccard/jaccard-moco_resnet50_1xb512-adam-500e_cifar10",
    "jaccard-simclr": "jaccard/jaccard-simclr_resnet50_1xb512-adam-500e_cifar10",
    "mixup": "mixup/mixup_resnet18_1xb100-sgd-800e_cifar100",
    "moco": "moco/moco_resnet18_1xb256-adam-200e_cifar10",
    "odc": "odc/odc_resnet18_1xb256-sgd-200e_tiny-imagenet",
    "pirl-jigsaw": "pirl/pirl-jigsaw_resnet18_1xb256-adam-200e_cifar10",
    "pirl-rotation": "pirl/pirl-rotation_resnet18_1xb256-adam-200e_cifar10",
    "simclr": "simclr/simclr_resnet18_1xb256-adam-200e_cifar10",
    "simclr-medical": "medical/simclr-nat_resnet18_1xb256-adamw-2000e_bloodmnist",
    "simsiam": "simsiam/simsiam_resnet18_1xb256-adam-200e_cifar10",
    "swav": "swav/swav_resnet18_1xb256-adam-200e_cifar10",
    "tribyol": "tribyol/tribyol_resnet18_1xb256-adam-200e_cifar10",
    "trimix": "trimix/trimix_resnet18_1xb256-adam-200e_cifar10",
    "vanilla": "mixup/vanilla_resnet18_1xb100-sgd-800e_cifar100",
    "vicreg": "vicreg/vicreg_resnet18_1xb256-adam-200e_cifar10",
}
PLAIN, RECOMPUTED = "plain", "recomputed"
PARTS = 4
DATASET = 50_000  # entries of memory banks: CIFAR's training images
WARMUP_BATCH = 16  # the smallest that all batch norms here accept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--methods", nargs="+", metavar="NAME", help=f"{' '.join(METHODS)} (all)")
    subject.add_argument("--config", metavar="PATH", help="a pretraining config instead")
    add_training(parser, pairs=None)


def run(
    console: Console, *, methods: list[str] | None, config: str | None, batch_size: int, **settings: Any
) -> dict[str, Any]:
    """Measure every method, print the table, return the figures."""
    chosen = {Path(config).stem: Path(config)} if config else configs_of(methods)
    found: dict[str, dict[str, Usage]] = {}
    for name, path in chosen.items():
        console.print(f"{name} ...", highlight=False)
        found[name] = dict(measure(str(path), batch_size=batch_size, **settings))
    console.print(memory_table(found, f"memory: batch {batch_size}, {settings['size']} px"))
    rows = [
        dict(method=method, way=way, usage=asdict(usage))
        for method, ways in found.items()
        for way, usage in ways.items()
    ]
    return dict(configs={name: str(path) for name, path in chosen.items()}, rows=rows)


def configs_of(methods: list[str] | None) -> dict[str, Path]:
    """Config files by method name; None for all methods.

    Raises:
        UserError: An unknown method.
    """
    if unknown := sorted(set(methods or ()) - METHODS.keys()):
        raise UserError(f"--methods has {unknown[0]!r}; allowed are {', '.join(METHODS)}.")
    return {name: CONFIGS / f"{METHODS[name]}.py" for name in methods or METHODS}


def measure(config: str, *, batch_size: int, **settings: Any) -> Iterator[tuple[str, Usage]]:
    """Measure each variant of a step in a new process; accumulation only if the update is the same."""
    settings.update(config=config, batch_size=batch_size)
    plain = in_new_process(settings)
    yield PLAIN, plain
    if plain.coupling is None and not batch_size % PARTS:
        yield f"{PARTS} x {batch_size // PARTS}", in_new_process(dict(settings, parts=PARTS))
    yield RECOMPUTED, in_new_process(dict(settings, checkpointing=True))


def in_new_process(settings: dict[str, Any]) -> Usage:
    """Call :func:`measure_step` in a new process.

    Raises:
        UserError: As :func:`measure_step`, or the process was killed.
    """
    try:
        return in_a_new_process(measure_step, **settings)
    except BrokenProcessPool as error:
        raise UserError(f"The step of {settings['config']} was killed: {error}") from error


@dataclass(frozen=True)
class Usage:
    """Bytes of one training step.

    ``kept``: saved for backward at the end of the forward pass, without parameters and buffers.
    ``parameters``, ``buffers`` and ``optimizer``: state between steps, without gradients.
    ``libraries``: peak resident memory after the imports; ``resident``: at the end. ``device``: peak memory
    allocated by torch on a GPU, None without one. ``coupling``: the model's ``batch_dependence``.
    """

    kept: int
    parameters: int
    buffers: int
    optimizer: int
    libraries: int
    resident: int
    device: int | None
    coupling: str | None

    @property
    def state(self) -> int:
        """Bytes of state between two steps."""
        return self.parameters + self.buffers + self.optimizer


class SavedForBackward:
    """Context that counts the bytes of tensors saved by autograd, except those of ``excluded``."""

    def __init__(self, excluded: Iterable[Tensor] = ()) -> None:
        self.excluded = {tensor.untyped_storage().data_ptr() for tensor in excluded}
        self.held: weakref.WeakSet[_Saved] = weakref.WeakSet()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved.tensor)

    def __enter__(self) -> SavedForBackward:
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    def bytes(self) -> int:
        """Bytes of the storages held now, each counted once and in full."""
        storages = [saved.tensor.untyped_storage() for saved in self.held]
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(size for pointer, size in sizes.items() if pointer not in self.excluded)

    def _pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        self.held.add(saved)
        return saved


class _Saved:
    """A saved tensor, freed with its node of the graph."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def measure_step(
    config: Config | str,
    *,
    batch_size: int,
    size: int,
    stem: str | None = None,
    parts: int = 1,
    checkpointing: bool = False,
) -> Usage:
    """Run a training step on random images; the process must do nothing else.

    The batch is processed in ``parts`` equal parts (``accumulative_counts``), with
    ``activation_checkpointing`` if ``checkpointing``.
    """
    libraries = peak_resident_bytes()
    config = training_config(config, stem)
    model = model_in_training(config, dataset=DATASET)
    if checkpointing:
        recompute_stages(model)
    optimizer = build_optim_wrapper(model, dict(config.optim_wrapper, accumulative_counts=1))
    update(model, optimizer, WARMUP_BATCH, size, 1)  # creates gradients and optimiser state
    kept = update(model, optimizer, batch_size, size, parts)
    states = [value for state in optimizer.optimizer.state.values() for value in state.values()]
    return Usage(
        kept=kept,
        parameters=_bytes(model.parameters()),
        buffers=_bytes(model.buffers()),
        optimizer=_bytes(value for value in states if torch.is_tensor(value)),
        libraries=libraries,
        resident=peak_resident_bytes(),
        device=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        coupling=model.batch_dependence,
    )


def update(model: nn.Module, optimizer: OptimWrapper, batch_size: int, size: int, parts: int) -> int:
    """Run one optimiser step; return the maximum over parts of the bytes saved for backward."""
    kept, batch = 0, random_batch(model, batch_size, size)
    optimizer._accumulative_counts = parts
    optimizer.initialize_count_status(nn.Identity(), 0, parts)
    for part in range(parts):
        data = model.data_preprocessor(
            {name: rows[part::parts] for name, rows in batch.items()}, training=True
        )
        saved = SavedForBackward([*model.parameters(), *model.buffers()])
        model.before_step(1, part + 1)
        with optimizer.optim_context(model), saved:
            loss, _ = model.parse_losses(model(**data, mode="loss"))
        kept = max(kept, saved.bytes())
        optimizer.update_params(loss)
    model.after_step(1, 1)
    return kept


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def memory_table(found: Mapping[str, Mapping[str, Usage]], title: str) -> Table:
    """Table with a row per method and variant, in MiB and relative to the plain step."""
    usages = [usage for ways in found.values() for usage in ways.values()]
    libraries = max(usage.libraries for usage in usages)
    on_device = ["device", "of plain"] if any(usage.device is not None for usage in usages) else []
    made = table(
        title,
        *("method", "step", "saved", "of plain", "state", "resident", "of plain", *on_device),
        caption="MiB. saved: tensors saved for backward; state: parameters + buffers + optimiser;\n"
        f"resident: peak above the {libraries / MIB:,.0f} MiB of the imported libraries.\n"
        f"{PARTS} x n: gradient accumulation, if its update equals that of the whole batch;\n"
        "recomputed: activation checkpointing.",
    )
    for method, ways in found.items():
        plain = ways[PLAIN]
        for way, usage in ways.items():
            resident = _share(usage.resident - usage.libraries, plain.resident - plain.libraries)
            device = _share(usage.device or 0, plain.device or 0) if on_device else ()
            state = f"{usage.state / MIB:,.0f}"
            made.add_row(method, way, *_share(usage.kept, plain.kept), state, *resident, *device)
    return made


def _share(size: int, plain: int) -> tuple[str, str]:
    return f"{size / MIB:,.0f}", f"{size / max(plain, 1):.2f}"
