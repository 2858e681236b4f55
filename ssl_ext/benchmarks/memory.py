"""Memory of a training step: plainly, with accumulated gradients and with activation checkpointing."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ssl_ext.benchmarks.memory_step import Usage
from ssl_ext.benchmarks.pairs import PEERS, environment_line
from ssl_ext.benchmarks.step import STEMS
from ssl_ext.errors import UserError

HELP = "memory of a training step, plainly, with accumulated gradients and with activation checkpointing"
CONFIGS = Path(__file__).parents[2] / "configs"
# The config of CIFAR or of the nearest thing that a method has.
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
PARTS = 4


@dataclass(frozen=True)
class Measured:
    """A method, one of the ways of taking its step, and what that took."""

    method: str
    way: str
    usage: Usage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``tools/benchmark.py memory``."""
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--methods", nargs="+", metavar="NAME", help=f"{' '.join(METHODS)} (all)")
    subject.add_argument("--config", metavar="PATH", help="a pretraining config instead")
    parser.add_argument("--batch-size", type=int, default=256, help="images of one update (256)")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels (32)")
    parser.add_argument("--stem", metavar="NAME", help=f"{' '.join(STEMS)} (the config's)")


def run(
    console: Console,
    *,
    methods: list[str] | None,
    config: str | None,
    batch_size: int,
    size: int,
    stem: str | None,
    threads: int | None,
) -> dict:
    """Measure every method, print the table and return all figures.

    Raises:
        UserError: An unknown method, or whatever the measurement refuses.
    """
    chosen = configs_of(methods, config)
    rows: list[Measured] = []
    for name, path in chosen.items():
        console.print(f"{name} ...", highlight=False)
        rows += benchmark_memory(name, path, batch_size=batch_size, size=size, stem=stem, threads=threads)
    console.print(memory_table(rows, f"memory: batch {batch_size}, {size} px"))
    console.print(environment_line(*PEERS), soft_wrap=True, highlight=False)
    configs = {name: str(path) for name, path in chosen.items()}
    return dict(configs=configs, rows=[asdict(row) for row in rows])


def configs_of(methods: list[str] | None, config: str | None) -> dict[str, Path]:
    """The configs that were asked for, by the names of their methods.

    Raises:
        UserError: An unknown method.
    """
    if config is not None:
        return {Path(config).stem: Path(config)}
    if unknown := sorted(set(methods or ()) - METHODS.keys()):
        raise UserError(f"--methods has {unknown[0]!r}; allowed are {', '.join(METHODS)}.")
    return {name: CONFIGS / f"{METHODS[name]}.py" for name in methods or METHODS}


def benchmark_memory(method: str, config: Path, *, batch_size: int, **settings) -> Iterator[Measured]:
    """Measure a step each way, in a new process each; accumulation only where it gives the same update.

    ``settings`` are those of :func:`ssl_ext.benchmarks.memory_step.measure_step`.

    Raises:
        UserError: What that function refuses, or a step that could not be taken.
    """
    settings.update(config=str(config), batch_size=batch_size)
    plain = in_new_process(settings)
    yield Measured(method, "plain", plain)
    if plain.coupling is None and not batch_size % PARTS:
        way = f"{PARTS} x {batch_size // PARTS}"
        yield Measured(method, way, in_new_process(dict(settings, parts=PARTS)))
    yield Measured(method, "recomputed", in_new_process(dict(settings, checkpointing=True)))


def in_new_process(settings: dict) -> Usage:
    """Measure in a process that has done nothing before.

    Raises:
        UserError: It ended without a result; the message is the last that it wrote.
    """
    command = [sys.executable, "-W", "ignore", "-m", "ssl_ext.benchmarks.memory_step", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise UserError(f"{settings['config']} cannot be measured: {said[-1]}")
    return Usage(**json.loads(done.stdout.splitlines()[-1]))


def memory_table(rows: list[Measured], title: str) -> Table:
    """Return a table: a row for each way of each method, in MiB and as shares of the plain step."""
    on_device = any(row.usage.device is not None for row in rows)
    libraries = max(row.usage.libraries for row in rows)
    table = Table(
        title=title,
        caption="MiB. kept: for backward, when forward ends; state: parameters + buffers + optimiser;\n"
        f"resident: peak above the imported libraries, which take {_mib(libraries)} themselves.\n"
        f"{PARTS} x n: accumulated gradients, where they are those of the whole batch;\n"
        "recomputed: activation checkpointing.",
    )
    table.add_column("method")
    table.add_column("step")
    headings = ["kept", "of plain", "state", "resident", "of plain"]
    for heading in headings + (["device", "of plain"] if on_device else []):
        table.add_column(heading, justify="right")
    for row in rows:
        plain = next(r.usage for r in rows if r.method == row.method and r.way == "plain")
        usage = row.usage
        state = usage.parameters + usage.buffers + usage.optimizer
        cells = [*_share(usage.kept, plain.kept), _mib(state)]
        cells += _share(*(u.resident - u.libraries for u in (usage, plain)))
        if usage.device is not None and plain.device is not None:
            cells += _share(usage.device, plain.device)
        table.add_row(row.method, row.way, *cells)
    return table


def _share(size: int, plain: int) -> tuple[str, str]:
    return _mib(size), f"{size / max(plain, 1):.2f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"
