"""Gloo processes: the launcher, nodes, and gradients against one process on the joined batch."""

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from processes import WORLD, results

from ssl_ext.apis import build_model
from ssl_ext.engine import read_checkpoint

TOOL = Path(__file__).parents[2] / "tools" / "dist_train.sh"
BATCH, EPS = 5, 1e-5
HEADS = {
    "BarlowTwins": dict(type="BarlowTwinsHead"),
    "TriMix": dict(type="TriMixHead", temperature=0.2),
    "TriMix on y": dict(type="TriMixHead", temperature=0.2, virtual_on="y", consistency_on="y"),
    "TriMix, mixed choice": dict(type="TriMixHead", virtual_on="y", feature_norm=False),
}

PROBE = '''
import glob
import os
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from ssl_ext.registry import HOOKS

def listening(pid):
    """Addresses and ports where a process listens, as the kernel writes them."""
    sockets = {os.readlink(link) for link in glob.glob(f"/proc/{pid}/fd/*") if os.path.exists(link)}
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for line in list(lines)[1:]:
                words = line.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                    found.append(words[1])
    return found


@HOOKS.register_module()
class ProbeHook(Hook):
    """Saves what this process did."""

    def before_train(self, runner):
        self.listens = [listening(pid) for pid in (os.getpid(), os.getppid())]
        self.indices, self.lams = [], []
        self.start = {n: p.detach().clone() for n, p in runner.model.module.named_parameters()}
        draw = runner.model.module.draw_lam
        runner.model.module.draw_lam = lambda like: self.lams.append(draw(like)) or self.lams[-1]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.indices += data_batch["indices"].tolist()

    def after_train(self, runner):
        parameters = {n: p.detach() for n, p in runner.model.module.named_parameters()}
        saved = dict(start=self.start, parameters=parameters, indices=self.indices, lams=self.lams)
        saved["listens"] = self.listens
        torch.save(saved, os.path.join(os.environ["PROBE_FOLDER"], f"{get_rank()}.pt"))
'''


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def launched(config, folder, count, **variables):
    """Start tools/dist_train.sh on ``count`` processes, with a probe."""
    (folder / "ranks_probe.py").write_text(PROBE)
    config.custom_imports = dict(imports=["ranks_probe"])
    config.custom_hooks.append(dict(type="ProbeHook"))
    config.train_cfg.max_epochs = 1
    config.dump(folder / "tiny.py")
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        PROBE_FOLDER=str(folder),
        CUDA_VISIBLE_DEVICES="",
        OMP_NUM_THREADS="1",
        **variables,
    )
    command = ["bash", TOOL, folder / "tiny.py", str(count), "--work-dir", folder / "run", "--seed", "5"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_two_launchers_are_two_nodes_of_four_processes(tiny_config, tmp_path):
    tiny_config.train_dataloader.batch_size = 32
    # The second node finds the first at an address of its own, which is not this machine's usual one.
    nodes = dict(NNODES="2", MASTER_ADDR="127.0.0.2", PORT=str(free_port()), GLOO_SOCKET_IFNAME="lo")
    second = launched(copy.deepcopy(tiny_config), tmp_path, 4, NODE_RANK="1", **nodes)
    first = launched(tiny_config, tmp_path, 4, NODE_RANK="0", **nodes)
    outputs = [node.communicate(timeout=500)[0] for node in (first, second)]
    assert [node.returncode for node in (first, second)] == [0, 0], outputs
    assert "8 process(es) of 32 images make updates of 256 images; the learning rate is 0.001." in outputs[0]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(8)]
    assert len({index for rank in ranks for index in rank["indices"]}) == sum(
        len(r["indices"]) for r in ranks
    )
    for name, value in ranks[0]["parameters"].items():
        assert all(torch.equal(rank["parameters"][name], value) for rank in ranks), name
    assert [path.name for path in (tmp_path / "run").glob("*.pth")] == ["epoch_1.pth"]


def test_launcher_trains_one_model_on_two_processes(tiny_config, tmp_path):
    port = free_port()
    run = launched(tiny_config, tmp_path, WORLD, PORT=str(port))
    output, _ = run.communicate(timeout=500)
    assert run.returncode == 0, output[-3000:]
    assert f"{WORLD} process(es) of" in output

    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    for name, value in first["parameters"].items():
        assert torch.equal(first["start"][name], second["start"][name]), name
        assert torch.equal(value, second["parameters"][name]), name
        assert not torch.equal(value, first["start"][name]), name
    # Images and views differ between processes, mixing coefficients do not.
    assert len(first["indices"]) == len(second["indices"]) == 512
    assert not set(first["indices"]) & set(second["indices"])
    assert len(first["lams"]) == 2 and first["lams"] == second["lams"]

    lines = output.splitlines()
    assert sum(line.startswith("epoch 1/1  loss ") for line in lines) == 1
    assert sum(line == f"Written to {tmp_path / 'run'}:" for line in lines) == 1
    assert [path.name for path in (tmp_path / "run").glob("*.pth")] == ["epoch_1.pth"]
    assert len(list((tmp_path / "run").glob("*/vis_data/scalars.json"))) == 1
    checkpoint = read_checkpoint(tmp_path / "run" / "epoch_1.pth")
    for name, value in first["parameters"].items():
        assert torch.equal(checkpoint["state_dict"][name], value), name
    states = [state["torch"] for state in checkpoint["random_states"]]
    assert len(states) == WORLD and not torch.equal(*states)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["world_size"], info["seed"], info["device"]) == (WORLD, 5, "cpu")

    # Not reachable from other machines, including the rendezvous.
    port = f"0100007F:{port:04X}"
    for (own, launcher), other in ((first["listens"], second), (second["listens"], first)):
        assert own and launcher == [port] == other["listens"][1]
        assert all(address.startswith("0100007F:") for address in own), own


def test_a_port_that_is_taken_is_named(tiny_config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = dict(os.environ, PYTHON=sys.executable, PORT=port)
        done = subprocess.run(
            ["bash", TOOL, tmp_path / "tiny.py", "2"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: Cannot listen at 127.0.0.1:{port} (Address already in use): set PORT to a free port."
    ]


def build(config, case):
    """Build a float64 model without batch normalisation, so that images are independent."""
    init_default_scope("ssl_ext")
    config = Config(config)
    norm = dict(type="GN", num_groups=4)
    config.model.update(type=case.split()[0].rstrip(","), head=HEADS[case])
    config.model.backbone.norm_cfg = config.model.neck.norm_cfg = norm
    config.model.data_preprocessor = dict(type="BaseDataPreprocessor")  # views are passed through
    torch.manual_seed(0)
    return build_model(config).double().train()


def views(world):
    """Two views of every process's images, (2, world, BATCH, 3, 8, 8)."""
    images = torch.randn(2, world, BATCH, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(1))
    images[:, 1] = 2 * images[:, 1] + 1  # processes with different statistics
    return images


def work(rank, config, world):
    """One training step of every case under DDP; saves losses, λ and the parameters after it."""
    saved = {}
    for case in HEADS:
        model, lams = build(config, case), []
        if case.startswith("TriMix"):
            draw = model.draw_lam
            model.draw_lam = lambda like, draw=draw, lams=lams: lams.append(draw(like)) or lams[-1]
        # SGD with a learning rate of 1: the step is the gradient.
        optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
        model = MMDistributedDataParallel(module=model, broadcast_buffers=False)
        torch.manual_seed(10 + rank)
        logged = model.train_step(dict(inputs=list(views(world)[:, rank])), optim_wrapper)
        parameters = {n: p.detach() for n, p in model.module.named_parameters()}
        saved[case] = dict(logged=dict(logged), lams=lams, parameters=parameters)
    return saved


def standardized(z):
    return (z - z.mean(0)) / (z.var(0, correction=0) + EPS).sqrt()


def one_process(model, lam, world):
    """Loss terms of one process on the joined batch; images are mixed block by block."""
    view1, view2 = (view.flatten(0, 1) for view in views(world))

    def embed(images):
        y = model.backbone(images)[-1].mean((2, 3))
        return dict(y=y, z=model.neck((y,))[0])

    first, second = embed(view1), embed(view2)
    c = standardized(first["z"]).T @ standardized(second["z"]) / (world * BATCH)
    diagonal = c.diagonal()
    terms = dict(
        loss_invariance=(1 - diagonal).square().sum(),
        loss_redundancy=5e-3 * (c - torch.diag(diagonal)).square().sum(),
    )
    if lam is None:
        return terms
    mixed = embed(torch.cat([lam * x + (1 - lam) * x.flip(0) for x in view1.split(BATCH)]))
    head, identity = model.head, torch.eye(BATCH, dtype=torch.float64)

    def blocks(which):
        rows, columns = standardized(first[which]), standardized(mixed[which])
        if head.feature_norm:
            columns = standardized(columns.T).T
        return zip(rows.split(BATCH), columns.split(BATCH), strict=True)

    virtual = [
        (
            (torch.cosine_similarity(rows[:, None], columns[None], dim=2) / head.temperature).softmax(1)
            - (lam * identity + (1 - lam) * identity.fliplr())
        )
        for rows, columns in blocks(head.virtual_on)
    ]
    consistency = [
        lam * rows + (1 - lam) * rows.flip(0) - columns for rows, columns in blocks(head.consistency_on)
    ]
    terms["loss_virtual"] = 1000 * torch.stack(virtual).abs().mean()
    terms["loss_consistency"] = 200 * torch.stack(consistency).abs().mean()
    return terms


@pytest.mark.parametrize("world", [WORLD, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_take_the_step_of_one_on_the_joined_batch(world, tiny_config, tmp_path):
    config = tiny_config.to_dict()
    processes = results(work, tmp_path, config, world, world=world)
    for case in HEADS:
        lams = [saved[case]["lams"] for saved in processes]
        assert lams == [lams[0]] * world
        model = build(config, case)
        terms = one_process(model, lams[0][0].double() if lams[0] else None, world)
        sum(terms.values()).backward()
        for saved in processes:
            for name, value in terms.items():
                torch.testing.assert_close(
                    saved[case]["logged"][name], value.detach(), rtol=1e-9, atol=1e-9, msg=f"{case}: {name}"
                )
            for name, parameter in model.named_parameters():
                step = parameter.detach() - saved[case]["parameters"][name]
                torch.testing.assert_close(
                    step, parameter.grad, rtol=1e-6, atol=1e-8, msg=f"{case}: gradient of {name}"
                )
