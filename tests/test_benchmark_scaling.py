"""Scaling of a step over two processes, and its projection to many GPUs."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from rich.console import Console

from ssl_ext.apis import load_config
from ssl_ext.benchmarks import processes, scaling, scaling_measure
from ssl_ext.benchmarks.processes import ProcessGroup, outside_the_group
from ssl_ext.benchmarks.projection import Cluster, Link, Similarities, project
from ssl_ext.benchmarks.scaling_measure import ALONE, APART, HALF, STRONG, WEAK, Scaling
from ssl_ext.benchmarks.traffic import Collective, NormPass, tally
from ssl_ext.errors import UserError
from ssl_ext.losses import world_size

# The tiny run of every registered algorithm.
sys.path.append(str(Path(__file__).parent / "engine"))
from methods import tiny_run  # noqa: E402

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="forked processes cannot use a GPU; run with CUDA_VISIBLE_DEVICES="
)
WORLD, IMAGES = 2, 30


def slow_ring_all_reduce(size, world, bandwidth, hop):
    """World − 1 rounds of reduce-scatter and as many of all-gather, one part of the tensor a round."""
    return sum(size / world / bandwidth + hop for _ in range(2 * (world - 1)))


def test_a_node_and_a_ring_of_nodes():
    plain = Cluster(
        gpus_per_node=4, node_bandwidth=8.0, network_bandwidth=2.0, launch=0.0, node_hop=0.0, network_hop=0.5
    )
    reduce, gather, tell = (Collective(kind, 960) for kind in ("all_reduce", "all_gather", "broadcast"))
    assert plain.seconds(reduce, 1) == 0
    assert plain.seconds(reduce, 4) == pytest.approx(slow_ring_all_reduce(960, 4, 8.0, 0.0))
    assert plain.seconds(gather, 4) == pytest.approx(3 / 4 * 960 / 8)
    assert plain.seconds(tell, 4) == pytest.approx(960 / 8)
    # Three nodes: each of four GPUs in a node reduces a quarter with its like, while it has 1/4 of the bytes.
    in_nodes = slow_ring_all_reduce(960, 4, 8.0, 0.0)
    assert plain.seconds(reduce, 12) == pytest.approx(in_nodes + slow_ring_all_reduce(240, 3, 2.0, 0.5))
    assert plain.seconds(gather, 12) == pytest.approx(3 / 4 * 960 / 8 + 2 / 3 * 240 / 2 + 2 * 0.5)
    # Few bytes over many nodes go up and down a tree: 2 · log2(64) hops, not 2 · 63.
    assert plain.seconds(Collective("all_reduce", 4), 256) == pytest.approx(
        6 / 4 * 4 / 8 + 2 * (1 / 2 + 6 * 0.5)
    )
    late = Cluster(gpus_per_node=4, node_bandwidth=8.0, launch=3.0, node_hop=0.25)
    assert late.seconds(Collective("all_reduce", 0), 4) == pytest.approx(3 + 2 * 2 * 0.25)
    with pytest.raises(ValueError, match="6 GPUs do not fill nodes of 4"):
        plain.seconds(reduce, 6)


def test_gradients_hide_behind_the_backward_pass():
    # One byte a second; an all-reduce on two GPUs sends what it holds.
    cluster = Cluster(
        node_bandwidth=1.0, launch=0.0, node_hop=0.0, backward=0.5, memory_bandwidth=1e9, flops=6.0
    )
    losses, norms = [Collective("all_reduce", 1, 3)], [Collective("all_gather", 4)]
    common = dict(losses=losses, norms=norms, similarities=Similarities(2, 1, 1, 4))

    def step(alone, *sizes):
        buckets = [Collective("all_reduce", size) for size in sizes]
        return project(cluster, 2, alone=alone, gradients=buckets, **common)

    longer = step(10.0, 4, 3)  # backward 5 s: two seconds are left over, but the last bucket takes three
    assert (longer.gradients, longer.gradients_exposed) == (7, 3)
    assert step(10.0, 6, 3).gradients_exposed == 4
    assert (longer.losses, longer.norms, longer.similarities) == (3, 2, 8)  # one more process: 2 · 6 · 4 / 6
    assert longer.exposed == 8 and longer.step == 26 and longer.efficiency == pytest.approx(10 / 26)


def test_bad_clusters_are_refused():
    with pytest.raises(ValueError, match="network_bandwidth must be above 0, got 0"):
        Cluster(network_bandwidth=0)
    with pytest.raises(ValueError, match="backward must be from 0 to 1, got 2"):
        Cluster(backward=2)


@pytest.fixture
def measured():
    """A measurement whose times are made up; a byte takes a second."""
    seconds = {ALONE: (4.0, 8.0), APART: (6.0, 8.0), WEAK: (12.0, 10.0), STRONG: (4.0, 8.0), HALF: (2.0, 5.0)}
    return Scaling(
        seconds=seconds,
        batch_size=8,
        threads=1,
        backend="gloo",
        counted=[],
        gradients=[Collective("all_reduce", 2), Collective("all_reduce", 3)],
        losses=[Collective("all_gather", 2, 2)],
        losses_half=[Collective("all_gather", 2)],
        norms=[NormPass(64, True)],
        link=Link(0.0, 1.0),
        link_samples=[],
        peak_resident=1,
        peak_device=None,
    )


def test_efficiencies_are_ratios_round_by_round(measured):
    found = measured.efficiencies()
    assert found["weak"] == pytest.approx(((1 / 3 + 0.8) / 2, 1 / 3, 0.8))
    assert found["strong"] == pytest.approx((0.5, 0.5, 0.5))
    assert found["joined over apart (communication)"] == pytest.approx((0.65, 0.5, 0.8))


def test_the_prediction_is_computing_and_what_is_sent(measured):
    # Two apart take 1.5 and 1 times as long as one; losses send 2 and 1, gradients 5, the last bucket 3.
    assert measured.predictions(hidden=False) == {WEAK: (6 + 7, 8 + 7), STRONG: (3 + 6, 5 + 6)}
    assert measured.predictions(hidden=True) == {WEAK: (6 + 5, 8 + 5), STRONG: (3 + 4, 5 + 4)}


class Served:
    """What the processes of these tests do."""

    def __init__(self, rank, world):
        self.rank = rank

    def sum(self, number):
        total = torch.tensor([float(number + self.rank)])
        dist.all_reduce(total)
        return total.item()

    def apart(self):
        with outside_the_group():
            inside = world_size()
        return inside, world_size()

    def fail(self, failing):
        if self.rank == failing:
            raise ValueError(f"rank {failing} cannot")
        dist.all_reduce(torch.ones(1))  # waits for the one that failed

    def die(self, dying):
        if self.rank == dying:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.all_reduce(torch.ones(1))

    def sleep(self):
        time.sleep(60)


@pytest.fixture
def quick_start(monkeypatch):
    """Forked processes: new interpreters take seconds to import what a step needs."""
    monkeypatch.setattr(processes, "START_METHOD", "fork")


def test_processes_work_together_and_apart(quick_start):
    with ProcessGroup(Served, WORLD, timeout=30) as group:
        assert group.ask([0, 1], "sum", 3) == [7, 7]
        assert group.ask([1], "apart") == [(1, 2)]
    assert not any(process.is_alive() for process in group.processes)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("fail", (1,), r"failed when asked 'fail'\n(.|\n)*process 1, (.|\n)*ValueError: rank 1 cannot"),
        ("fail", (0,), r"failed when asked 'fail'\nprocess 0, (.|\n)*ValueError: rank 0 cannot"),
        ("die", (1,), r"(.|\n)*process 1, which ended with status -9: no error was left"),
        ("sleep", (), "process 0 did not answer 'sleep' within 1 s"),
    ],
)
def test_a_process_that_fails_ends_them_all(method, arguments, message, quick_start):
    start = time.monotonic()
    with (
        pytest.raises(RuntimeError, match=message),
        ProcessGroup(Served, WORLD, timeout=1 if method == "sleep" else 30) as group,
    ):
        group.ask([0, 1], method, *arguments)
    assert not any(process.is_alive() for process in group.processes)
    assert time.monotonic() - start < 25  # nobody waited for the timeout of a collective


def test_a_process_that_cannot_start_ends_them_all(quick_start):
    def make(rank, world):
        raise ValueError("no such model")

    with pytest.raises(RuntimeError, match=r"failed when asked 'to start'(.|\n)*no such model"):
        ProcessGroup(make, WORLD, timeout=30).__enter__()


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    scaling.add_arguments(parser)
    return dict(vars(parser.parse_args(list(map(str, arguments)))), threads=None)


def run(*arguments):
    with Console(record=True, width=150, file=open(os.devnull, "w")) as console:  # noqa: SIM115
        figures = scaling.run(console, **parsed(*arguments))
    return figures, console.export_text()


def test_defaults_of_the_options_are_those_of_the_cluster():
    settings = parsed()
    assert {
        field: settings[option.replace("-", "_")] * unit for option, field, unit, _ in scaling.ASSUMPTIONS
    } == (pytest.approx(vars(Cluster()), rel=1e-3))
    assert Path(settings["config"]).is_file()


def check_run(config_file):
    figures, shown = run(
        *("--config", config_file, "--batch-size", 4, "--size", 8, "--steps", 1, "--gpus", 8, 16),
        *("--gpu-step-ms", 5, "--gpu-batch-size", 32, "--network-gbs", 20),
    )
    for expected in (
        "two, joined",
        "efficiency, strong",
        "kind and size: equal",
        "nothing hidden",
        "5 ms a step",
    ):
        assert expected in shown, expected
    json.dumps(figures)
    assert {name: len(times) for name, times in figures["seconds"].items()} == dict.fromkeys(
        (ALONE, APART, WEAK, STRONG, HALF), 5
    )
    traffic = figures["traffic"]
    sent = traffic["gradients"]["sent_bytes"] + traffic["losses"]["sent_bytes"]
    assert traffic["counted"]["sent_bytes"] == sent
    assert figures["cluster"]["network_bandwidth"] == 20e9
    assert [p["world"] for p in figures["projections"]] == [8, 16]
    assert figures["projections"][0]["alone"] == 0.005
    assert figures["threads"] == 1 and figures["peak_resident_bytes"] > 2**20


def test_the_whole_benchmark(tiny_config_file, quick_start, monkeypatch):
    monkeypatch.setattr(scaling_measure, "LINK_SIZES", {4: 2, 4096: 2})
    check_run(tiny_config_file)


def test_processes_agree_on_when_clusters_are_renewed(quick_start, monkeypatch):
    monkeypatch.setattr(scaling_measure, "LINK_SIZES", {4: 2, 4096: 2})
    # Every other step renews them; before it is joined, the first process has taken an odd number more alone.
    result = scaling_measure.benchmark_scaling(
        load_config(tiny_run("ODC", "none", world=WORLD)),
        batch_size=4,
        size=8,
        steps=2,
        timeout=20,
        dataset=IMAGES,
    )
    assert tally(result.counted) == tally([*result.gradients, *result.losses])
    assert ("broadcast", 8 * IMAGES) in tally(result.counted)


@pytest.mark.slow
def test_the_whole_benchmark_in_new_interpreters(tiny_config_file):
    check_run(tiny_config_file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch-size", 6, "--pairs", 2), "pairs must be at least 5, got 2"),
        (("--batch-size", 5), "batch_size must be even and at least 4, got 5"),
        (("--steps", 0), "at least 1, got 64, 32, 0, 1"),
        (("--timeout", 0), "timeout must be above 0 s, got 0"),
        (("--gpus", 12), "12 GPUs do not fill nodes of 8"),
        (("--gpu-step-ms", 0), "gpu_step_ms must be above 0 and gpu_batch_size at least 2, got 0.0, None"),
        (("--gpu-batch-size", 1), "gpu_batch_size at least 2, got 20.0, 1"),
        (("--tflops", -1), "flops must be above 0, got -1"),
        (("--stem", "vgg"), "stem is 'vgg'; allowed are imagenet, cifar"),
    ],
)
def test_bad_settings_are_refused(arguments, message, tiny_config_file):
    with pytest.raises(ValueError, match=message):
        run("--config", tiny_config_file, *arguments)


def test_a_model_that_sees_no_views_is_refused(tiny_config):
    tiny_config.model.data_preprocessor = dict(type="BaseDataPreprocessor")
    with pytest.raises(UserError, match="model.type is 'TriMix'; scaling is measured of models of views"):
        scaling_measure.measured_model(tiny_config)
