"""Behaviour equals the recorded snapshot; see snapshot.py, which records changes made on purpose."""

import importlib
import os
import tempfile

import contract_interface
import contract_runs
import pytest
import torch
from snapshot import ROOT, differences, read

from ssl_ext.errors import UserError
from ssl_ext.moved import MOVED

# On the recording machine all figures are equal; SSL_EXT_CONTRACT_EXACT=1 tests that. Other processors and
# versions of torch round differently, which grows over six steps.
EXACT = bool(os.environ.get("SSL_EXT_CONTRACT_EXACT"))
RTOL = 0.0 if EXACT else 1e-3
CLOSE = dict(rtol=RTOL, atol=1e-3 * RTOL)
METRIC_ATOL = 0.0 if EXACT else 0.02
on_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="recorded on the CPU; run with CUDA_VISIBLE_DEVICES="
)
ALGORITHMS = read("algorithms")
# Cases with a learned mixing block, whose dropout draws random values on the CPU.
DROPOUT = {"AMix", "AMix-schedule", "AMixC", "AMixClusters", "AMixI"}
# Positions that dropout kept on the recording machine, of 32 with p = 0.5 and seed 0.
KEPT = [2, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 20, 22, 24, 29]
MEMORY = "/dev/shm"


@pytest.fixture(autouse=True)
def temporary_files_in_memory(monkeypatch):
    """MMEngine writes ten small files per config, which is slow on a slow disk."""
    if os.access(MEMORY, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", MEMORY)


def report(found):
    """Fail with one line for each difference."""
    if found:
        more = [f"… and {len(found) - 20} more"] if len(found) > 20 else []
        pytest.fail("\n".join(["The recorded contract does not hold:", *found[:20], *more]), pytrace=False)


def signature_differences(recorded, present, where):
    """Differences of signatures: defaults must not change, new parameters need a default."""
    new = [f"{where}: the new parameter {name} has no default." for name, default in present.items()
           if name not in recorded and default == contract_interface.REQUIRED]  # fmt: skip
    return new + differences(recorded, present, where=where, additions=True)


def names_differences(recorded, present, where):
    return [
        difference
        for name, parameters in recorded.items()
        for difference in (
            signature_differences(parameters, present[name], f"{where} {name}")
            if name in present
            else [f"{where} {name} is gone."]
        )
    ]


@pytest.mark.parametrize("part", ["names", "imports"])
def test_names(part):
    recorded = read(part)
    present = contract_interface.PARTS[part](recorded)
    report(
        [
            d
            for group, names in recorded.items()
            for d in names_differences(names, present.get(group, {}), group)
        ]
    )


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_old_module_paths_give_the_new_modules(old, new):
    assert importlib.import_module(old) is importlib.import_module(new)


def test_options_of_the_tools():
    present = contract_interface.options()
    report(differences(read("options"), present, where="tools", additions=True))


def test_configs(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = []
    for path, recorded in read("configs").items():
        try:
            found += differences(recorded, contract_interface.resolved(path), where=path)
        except UserError as error:
            found.append(f"{path} does not load: {error}")
    report(found)


def dropout_draws_as_recorded():
    """True if ``bernoulli_`` on the CPU draws the same values as when the snapshot was recorded."""
    generator = torch.Generator().manual_seed(0)
    return torch.empty(32).bernoulli_(0.5, generator=generator).nonzero().flatten().tolist() == KEPT


@on_cpu
@pytest.mark.parametrize("case", ALGORITHMS)
def test_algorithms(case):
    """Six steps, the last two resumed from the recorded checkpoint, and features of that checkpoint."""
    if case in DROPOUT and not dropout_draws_as_recorded():
        pytest.skip(f"dropout of torch {torch.__version__} draws other values than when this was recorded")
    recorded = ALGORITHMS[case]
    with contract_runs.run_folder():
        present = contract_runs.train(recorded["config"], case)
        # If weights are renamed the checkpoint cannot load: report the names.
        report(run_differences(recorded, present, case))
        resumed = contract_runs.resume(recorded["config"], case)
        later = dict(recorded, losses=recorded["losses"][contract_runs.SAVED :])
        found = run_differences(later, resumed, f"{case}, resumed")
        metrics = contract_runs.neighbours(recorded["config"], f"{case}.pth")
        options = dict(additions=True, atol=METRIC_ATOL)
        found += differences(recorded["knn"], metrics, where=f"{case}: kNN", **options)
    report(found)


def run_differences(recorded, present, where):
    """Differences of the loss terms of each step and of the weights after the last step."""
    found = differences(recorded["losses"], present["losses"], where=f"{where}: losses", **CLOSE)
    return found + state_differences(recorded["state"], present["state"], where)


def state_differences(recorded, present, where):
    """Differences of state dicts; a sum may differ as if every value had changed by ``RTOL``."""
    found = [f"{where}: {key} is new in the state dict." for key in present if key not in recorded]
    for key, tensor in recorded.items():
        if key not in present:
            found.append(f"{where}: {key} is gone from the state dict.")
            continue
        count = torch.Size(tensor["shape"]).numel()
        atol = RTOL * (tensor["norm"] * count**0.5 + 1e-3 * count)
        found += differences(tensor, present[key], where=f"{where}: {key}", atol=atol)
    return found


@on_cpu
def test_result_rows_on_the_digits():
    recorded = read("digits")
    found = differences(recorded, contract_runs.digits(), where="digits", additions=True, atol=METRIC_ATOL)
    report(found)


def test_a_difference_is_named():
    recorded = dict(a=[1.0, dict(b=True)], c="x", nan=float("nan"))
    assert differences(recorded, recorded, where="part") == []
    assert differences(recorded, dict(recorded, a=[1.1, dict(b=True)]), where="part", rtol=0.2) == []
    changed = dict(a=[1.1, dict(b=1)], new=0, nan=float("nan"))
    assert differences(recorded, changed, where="part", rtol=0.01) == [
        "part: a: [0] was 1.0 and is now 1.1.",
        "part: a: [1]: b was true and is now 1.",
        'part: c is gone (recorded: "x").',
        "part: new is new (0).",
    ]
    assert len(differences(recorded, changed, where="part", additions=True)) == 3
