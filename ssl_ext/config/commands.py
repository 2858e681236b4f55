"""Command lines that run as printed, and those that follow a training."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config


def command(name: str, *words: Any) -> str:
    """Command line of a tool, started as this program was, with quoted arguments.

    >>> command("evaluate", "a b.py").endswith("evaluate 'a b.py'")
    True
    """
    door = Path(sys.argv[0]).with_name(f"{name}.py")
    if door.parent.name == "tools" and door.is_file():
        start = [_program("python") or sys.executable, str(door)]
    elif program := _program("ssl-ext"):
        start = [program, name]
    else:
        start = [_program("python") or sys.executable, "-m", "ssl_ext.cli", name]
    return shlex.join([*start, *map(str, words)])


def _program(name: str) -> str | None:
    """Name of a program if the shell finds that of this environment, else None."""
    found = shutil.which(name)
    return name if found and Path(found).parent == Path(sys.executable).parent else None


def after_training(config: Config, checkpoint: Path, log_dir: Path, *, as_written: bool) -> list[str]:
    """Lines that name the files of a training and the next commands.

    Args:
        config: Config of the run, in ``config.work_dir``.
        checkpoint: The newest checkpoint.
        log_dir: Folder of the log.
        as_written: The config file has all settings of the run; otherwise its copy in the work dir is named.
    """
    run, name = Path(config.work_dir), Path(config.filename or f"{log_dir.name}.py").name
    source = config.filename if as_written and config.filename else run / name
    files = {
        checkpoint.name: "weights, and the state to resume from",
        name: "the config with all settings",
        "run.json": "command, seed and versions",
        f"{log_dir.name}/": "log with every figure, and curves for TensorBoard",
    }
    width = max(map(len, files))
    if config.get("evaluation_dataset") is None:
        commands = [command("evaluate", source, checkpoint, "--protocols", "quality")]
    elif config.model.type == "FasterRCNN":
        commands = [command("visualize", "detections", source, checkpoint, "--out", run / "figures")]
    else:
        commands = [command("evaluate", source, checkpoint)]
    commands.append(command("visualize", "curves", run, "--out", run / "figures"))
    if config.model.get("backbone", {}).get("type") in ("ResNet", "ResNet_CIFAR"):
        commands.append(command("export", checkpoint, "--to", "torchvision"))
    return [
        f"Written to {run}:",
        *(f"  {file:<{width}}  {words}" for file, words in files.items()),
        "Next:",
        *(f"  {line}" for line in commands),
    ]
