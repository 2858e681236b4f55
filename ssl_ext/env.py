"""Environment report (``python -m ssl_ext.env``) and the check for conflicting OpenMMLab distributions.

The maintained ``onedl-*`` distributions and the upstream ones install packages of the same names, so
that each overwrites files of the other.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from . import __version__

OPENMMLAB = ("mmengine", "mmcv", "mmpretrain")
UPSTREAM_ALIASES = {"mmcv": ("mmcv", "mmcv-lite", "mmcv-full")}
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scikit-learn",
    "torchmetrics",
    "medmnist",
    "tensorboard",
    "matplotlib",
)


def installed_version(distribution: str) -> str | None:
    """Version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def openmmlab_families() -> dict[str, dict[str, str]]:
    """Installed OpenMMLab distributions, as ``{'onedl': {name: version}, 'upstream': {...}}``."""
    upstream_names = [name for package in OPENMMLAB for name in UPSTREAM_ALIASES.get(package, (package,))]
    families = {
        "onedl": [f"onedl-{name}" for name in OPENMMLAB],
        "upstream": upstream_names,
    }
    return {
        family: {name: version for name in names if (version := installed_version(name))}
        for family, names in families.items()
    }


def check_openmmlab_family() -> None:
    """Verify that exactly one family of OpenMMLab distributions is installed, and completely.

    Raises:
        ImportError: Both families are installed, or a package is missing; the message gives the pip
            command that fixes it.
    """
    families = openmmlab_families()
    onedl, upstream = families["onedl"], families["upstream"]
    if onedl and upstream:
        raise ImportError(
            f"Both OpenMMLab families are installed ({', '.join([*onedl, *upstream])}) and overwrite "
            f"each other's files. Run: pip uninstall -y {' '.join([*onedl, *upstream])} && "
            "pip install onedl-mmengine onedl-mmcv onedl-mmpretrain"
        )
    missing = [
        f"onedl-{name}"
        for name in OPENMMLAB
        if f"onedl-{name}" not in onedl and not upstream.keys() & set(UPSTREAM_ALIASES.get(name, (name,)))
    ]
    if missing:
        # An incomplete upstream family would conflict with onedl packages and is removed first.
        remove = f"pip uninstall -y {' '.join(upstream)} && " if upstream else ""
        wanted = [f"onedl-{name}" for name in OPENMMLAB] if upstream else missing
        raise ImportError(f"OpenMMLab packages are missing. Run: {remove}pip install {' '.join(wanted)}")


def package_versions() -> dict[str, str]:
    """Versions of the project, Python and the libraries that can affect results, by name."""
    versions = {"ssl_ext": __version__, "python": platform.python_version()}
    for family in openmmlab_families().values():
        versions.update(family)
    versions.update({name: version for name in LIBRARIES if (version := installed_version(name))})
    return versions


@cache
def source_commit() -> str | None:
    """The git commit of this checkout, ``-dirty`` with changes; None for an installed package."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_resident_bytes() -> int:
    """Peak resident memory of this process in bytes, since its program started.

    ``ru_maxrss`` of a new process includes memory of its parent; ``VmHWM`` of Linux does not.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_of(process: int) -> tuple[int, int] | None:
    """Resident and proportional memory of a process in bytes; None where the system does not tell.

    Pages that n processes share count fully in the first, and one n-th in the second.
    """
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines[1:])}
    return found["Rss"], found["Pss"]


def seconds_since_start() -> float | None:
    """Time since this process started; None where the system does not tell."""
    try:
        # The name of the program, in parentheses, may contain spaces.
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        uptime = Path("/proc/uptime").read_text().split()[0]
    except OSError:
        return None
    return float(uptime) - int(started) / os.sysconf("SC_CLK_TCK")


def report() -> str:
    """Text of the environment report, for bug reports."""
    import torch

    lines = [f"{name}: {version}" for name, version in package_versions().items()]
    families = [name for name, found in openmmlab_families().items() if found]
    lines.append(f"OpenMMLab family: {' AND '.join(families) or 'none'}")
    lines.append(f"platform: {platform.platform()}")
    lines.append(f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads in torch")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            lines.append(f"GPU {index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    else:
        lines.append("GPU: none")
    world_size = os.environ.get("WORLD_SIZE")
    if world_size is None:
        lines.append("process group: none (started without torchrun)")
    else:
        lines.append(f"process group: rank {os.environ.get('RANK')} of {world_size}")
    backends = [
        name
        for name in ("nccl", "gloo", "mpi")
        if torch.distributed.is_available() and getattr(torch.distributed, f"is_{name}_available")()
    ]
    lines.append(f"distributed backends: {', '.join(backends) or 'none'}")
    return "\n".join(lines)


def main() -> int:
    """Print the report; return 1 if the environment check fails, else 0."""
    sys.stdout.write(report() + "\n")
    try:
        check_openmmlab_family()
    except ImportError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
