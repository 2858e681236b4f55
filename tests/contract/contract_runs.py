"""Current results of very small runs: six steps of every algorithm, a resumed run, and evaluations."""

import json
import lzma
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from mmengine.config import Config
from mmengine.runner import Runner
from snapshot import RECORDED, plain, read

from ssl_ext.apis import evaluate, pretrain

STEPS, SAVED = 6, 4
IMAGES = "images.npz"
SHORT = dict(epochs=1, min_steps=None, batch_size=32, lr=1e-3, evaluations=1)
# The algorithm whose checkpoint is evaluated on the digits.
EVALUATED = "TriMix"
PROTOCOLS = (
    "knn", "linear", "linear-aug", "finetune", "semi", "budget", "transfer", "supervised", "cluster",
)  # fmt: skip
# A logged figure that is not a loss.
FREE = {"mask_std"}
# Fields of a result row that depend on time and machine: keys are compared, values are not.
KEYS_ALONE = ("cost", "intervals", "source")


@contextmanager
def run_folder():
    """Temporary working folder with the recorded images, for relative paths in configs and checkpoints."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(RECORDED / IMAGES, folder)
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(here)


def train(config, work_dir, resume=False):
    """Loss terms of each step and the weights after the last step.

    MMEngine keeps one visualizer per work dir name and second, so each run has its own name.
    """
    losses, call_hook = [], Runner.call_hook

    def recording(runner, name, **kwargs):
        if name == "after_train_iter":
            terms = kwargs["outputs"].items()
            losses.append({term: None if term in FREE else float(value.detach()) for term, value in terms})
        return call_hook(runner, name, **kwargs)

    with mock.patch.object(Runner, "call_hook", recording):
        model = pretrain(Config(config), work_dir=work_dir, resume=resume)
    return dict(losses=losses, state={name: _summary(tensor) for name, tensor in model.state_dict().items()})


def _summary(tensor):
    values = tensor.double()
    return dict(
        shape=list(tensor.shape), dtype=str(tensor.dtype), sum=float(values.sum()), norm=float(values.norm())
    )


def resume(config, case):
    """Resume from the recorded checkpoint; return the remaining steps."""
    return train(config, f"{case}-resumed", resume=str(unpack(case)))


def unpack(case):
    """Write the recorded checkpoint of an algorithm to the working folder."""
    path = Path(f"{case}.pth")
    path.write_bytes(lzma.decompress((RECORDED / "checkpoints" / f"{case}.pth.xz").read_bytes()))
    return path


def neighbours(config, checkpoint):
    """Metrics of kNN on the recorded images."""
    (row,) = evaluate(Config(config), checkpoint, protocols=["knn"], out_dir="out", device="cpu")
    return {name: value for name, value in row.last.items() if isinstance(value, float)}


def algorithms(recorded=None, only=None):
    """Config, loss terms, weights and kNN metrics of every entry of the table of methods."""
    found = {}
    cases = tiny_configs()
    for case, config in cases.items():
        if only is None or case in only:
            with run_folder() as folder:
                entry = dict(config=config, **train(config, case))
                checkpoint = folder / case / f"iter_{SAVED}.pth"
                entry["knn"] = neighbours(config, str(checkpoint))
                packed = lzma.compress(checkpoint.read_bytes(), preset=9)
            (RECORDED / "checkpoints").mkdir(exist_ok=True)
            (RECORDED / "checkpoints" / f"{case}.pth.xz").write_bytes(packed)
            found[case] = entry
    for path in (RECORDED / "checkpoints").glob("*.pth.xz"):
        if path.name.removesuffix(".pth.xz") not in cases:
            path.unlink()
    return found


def tiny_configs():
    """Configs of the tests' table of methods, read only for recording."""
    sys.path.insert(0, str(RECORDED.parents[1]))
    from methods import METHODS, tiny_run, write_images

    if not (RECORDED / IMAGES).is_file():
        write_images(RECORDED / IMAGES)
    found = {}
    for case in METHODS:
        config = tiny_run(case, IMAGES)
        config.default_hooks.checkpoint = dict(
            type="CheckpointHook", by_epoch=False, interval=SAVED, save_last=False
        )
        found[case] = plain(config.to_dict())
    return found


def digits(recorded=None, only=None):
    """All result rows of an evaluation of the recorded checkpoint on digits, by protocol and settings."""
    config = Config(read("algorithms")[EVALUATED]["config"])
    config.evaluation_dataset = dict(type="Digits", image_size=8)
    config.evaluation = dict(
        batch_size=512,
        knn=dict(k=[1, 5]),
        linear=dict(solver="sgd", epochs=3, lr=3.0, batch_size=128),
        linear_aug=dict(epochs=1, milestones=[]),
        finetune=SHORT,
        cluster=dict(restarts=1),
    )
    with run_folder():
        Path("other.py").write_text(f"evaluation_dataset = dict(type='NPZDataset', data_root='{IMAGES}')\n")
        evaluate(
            config,
            unpack(EVALUATED),
            protocols=[
                "knn",
                "linear",
                "linear-aug",
                "finetune",
                "semi",
                "budget",
                "transfer",
                "supervised",
                "cluster",
            ],
            labels_per_class=[2],
            budgets=[40, "all"],
            fractions=[0.05],
            transfer_to=["other.py"],
            modes=["frozen", "unfrozen"],
            draws=2,
            baselines=["pixels", "untrained", "supervised"],
            out_dir="out",
            device="cpu",
        )
        evaluate(
            config, EVALUATED + ".pth", protocols=["linear"], labels_per_class=[2], draws=1, recipes=["own"],
            out_dir="out", device="cpu",
        )  # fmt: skip
        rows = json.loads(Path("out/results.json").read_text())
    return {name: row for name, row in map(_row, rows) if only is None or name in only}


def _row(row):
    asked = ("labels_per_class", "budget", "fraction", "draw", "mode", "target", "recipe")
    words = [row["method"], row["protocol"], *(f"{key} {row[key]}" for key in asked if row[key] is not None)]
    # Its name holds a hash of scores, whose last digits depend on the machine.
    row["predictions"] = row["predictions"] is not None
    for key in KEYS_ALONE:
        row[key] = dict.fromkeys(sorted(row[key]))
    for metrics in (row["last"], row["best"]):
        # Keep only the class sizes of the confusion matrix; other metrics cover the rest.
        metrics["confusion"] = [sum(counts) for counts in metrics.get("confusion", ())]
    return ", ".join(words), row


PARTS = dict(algorithms=algorithms, digits=digits)
