"""The memory of one training step, measured in a process of its own.

``python -m ssl_ext.benchmarks.memory_step SETTINGS`` prints a :class:`Usage` as JSON; settings are JSON too.
"""

import json
import sys
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn

from ssl_ext.benchmarks.step import model_in_training, step_config
from ssl_ext.engine.activation_checkpointing import recompute_stages
from ssl_ext.env import peak_resident_bytes

# Rows of memory banks: CIFAR's training images.
DATASET = 50_000
# The least that any batch normalisation here takes; it makes gradients and the optimiser's state.
WARMUP_BATCH = 16


@dataclass(frozen=True)
class Usage:
    """Bytes of one training step.

    ``kept``: what is held for the backward pass when the forward pass ends, parameters and buffers aside.
    ``parameters``, ``buffers`` and ``optimizer``: what stays between two steps, without gradients.
    ``libraries``: peak resident memory after the imports; ``resident``: at the end. ``device``: peak of what
    torch allocated on a GPU, None without one. ``coupling``: the model's ``batch_dependence``.
    """

    kept: int
    parameters: int
    buffers: int
    optimizer: int
    libraries: int
    resident: int
    device: int | None
    coupling: str | None


class SavedForBackward:
    """Counts, while it is entered, the tensors that autograd saves.

    >>> x = torch.ones(8, requires_grad=True)
    >>> with SavedForBackward() as saved:
    ...     y = x.square()
    >>> saved.bytes()
    32
    >>> y.sum().backward()
    >>> saved.bytes()
    0
    """

    def __init__(self, aside: Iterable[Tensor] = ()) -> None:
        self.aside = {tensor.untyped_storage().data_ptr() for tensor in aside}
        self.held: weakref.WeakSet[_Saved] = weakref.WeakSet()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved.tensor)

    def __enter__(self) -> "SavedForBackward":
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    def bytes(self) -> int:
        """Of the storages that are held now, each counted once, whole, and without those set ``aside``."""
        storages = [saved.tensor.untyped_storage() for saved in self.held]
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(size for pointer, size in sizes.items() if pointer not in self.aside)

    def _pack(self, tensor: Tensor) -> "_Saved":
        saved = _Saved(tensor)
        self.held.add(saved)
        return saved


class _Saved:
    """A tensor in the graph; gone with its node."""

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
    threads: int | None = None,
) -> Usage:
    """Take a training step on random images and measure; for a process that does nothing else.

    Args:
        config: A pretraining config, or the path of a config file; its data set is not read.
        batch_size: Images of one update.
        size: Their side in pixels.
        stem: ``'imagenet'`` or ``'cifar'``, the ResNet of the backbone; by default the config's.
        parts: ``accumulative_counts``: the batch goes through the network in so many equal parts.
        checkpointing: ``activation_checkpointing``.
        threads: Torch's number of threads; by default unchanged.

    Raises:
        UserError: Bad config, unknown stem, mixed precision.
        ValueError: A number below 1, or a batch that is not a multiple of ``parts``.
    """
    libraries = peak_resident()
    config = step_config(config, stem, batch_size=batch_size, size=size, parts=parts, threads=threads)
    if batch_size % parts:
        raise ValueError(f"A batch of {batch_size} has no {parts} equal parts.")
    if threads:
        torch.set_num_threads(threads)
    model = model_in_training(config, dataset=DATASET)
    if checkpointing:
        recompute_stages(model)
    optimizer = build_optim_wrapper(model, dict(config.optim_wrapper, accumulative_counts=1))
    _update(model, optimizer, WARMUP_BATCH, size, 1)
    kept = _update(model, optimizer, batch_size, size, parts)
    on_device = torch.cuda.is_available()
    return Usage(
        kept=kept,
        parameters=_bytes(model.parameters()),
        buffers=_bytes(model.buffers()),
        optimizer=_bytes(
            value
            for state in optimizer.optimizer.state.values()
            for value in state.values()
            if torch.is_tensor(value)
        ),
        libraries=libraries,
        resident=peak_resident(),
        device=torch.cuda.max_memory_allocated() if on_device else None,
        coupling=model.batch_dependence,
    )


def _update(model: nn.Module, optimizer: OptimWrapper, batch_size: int, size: int, parts: int) -> int:
    """One step of the optimiser; the most bytes that a part kept for its backward pass."""
    kept, count = 0, batch_size // parts
    optimizer._accumulative_counts = parts
    optimizer.initialize_count_status(nn.Identity(), 0, parts)
    for part in range(parts):
        rows = torch.arange(part * count, (part + 1) * count)
        images = torch.randint(0, 256, (count, len(model.data_preprocessor.mean), size, size))
        batch = dict(
            inputs=images.to(torch.uint8), labels=rows % getattr(model, "num_classes", 1), indices=rows
        )
        data = model.data_preprocessor(batch, training=True)
        saved = SavedForBackward([*model.parameters(), *model.buffers()])
        with optimizer.optim_context(model), saved:
            loss, _ = model.parse_losses(model(**data, mode="loss"))
        kept = max(kept, saved.bytes())
        optimizer.update_params(loss)
    model.after_step(1, 1)
    return kept


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def peak_resident() -> int:
    """Largest resident memory of this process since its program began.

    What the system counts for a process takes over the memory of the one that started it; Linux has the
    figure of the program besides.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return peak_resident_bytes()


def main() -> None:
    """Measure what the first argument says; an error is one sentence on the error stream."""
    try:
        usage = measure_step(**json.loads(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{json.dumps(asdict(usage))}\n")


if __name__ == "__main__":
    main()
