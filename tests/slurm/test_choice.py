"""The choice of workers, without Slurm and Ray."""

from types import SimpleNamespace

import pytest

from ssl_ext.apis.tables.ray import Ray
from ssl_ext.apis.tables.slurm import Slurm, on_nodes
from ssl_ext.apis.tables.starters import local_gpus
from ssl_ext.cli.table import main
from ssl_ext.errors import UserError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slurm", "0"], "--slurm 0: at least 1 is needed."),
        (["--ray", "-1"], "--ray -1: at least 1 is needed."),
        (["--slurm", "2", "--ray", "2"], "--slurm and --ray exclude each other."),
        (["--gpus", "0", "--slurm", "2"], "--gpus and --slurm exclude each other."),
        (["--sbatch", "--time=1"], "--sbatch needs --slurm."),
        (["--slurm", "2"], "the command 'sbatch' was not found"),
    ],
)
def test_bad_choices_are_one_sentence(words, message, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    words = [f"{words[0]}={words[1]}"] if words[0] == "--sbatch" else words
    with pytest.raises(UserError) as error:
        main(["trimix_table1", *words])
    assert message in str(error.value)


def test_workers_use_visible_gpus_only(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for visible, ids in (("2, GPU-8932f937", ["2", "GPU-8932f937"]), ("", ["0", "1"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert local_gpus(None) == ids and local_gpus(["1", "0", "1"]) == [ids[1], ids[0], ids[1]]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert local_gpus(None) == []


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Fake commands of Slurm, with one worker in the queue; they record their words and input."""
    for name, text in dict(squeue="echo 7_0", sbatch="cat >> $0.in").items():
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "$@" >> $0.txt\n{text}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("GPUS_PER_NODE", raising=False)
    return tmp_path


@pytest.mark.parametrize(("processes", "nodes", "gpus"), [(1, 1, 1), (8, 1, 8), (12, 2, 6), (32, 4, 8)])
def test_workers_are_topped_up(commands, processes, nodes, gpus):
    starter = Slurm(commands, processes, arguments=["--time=5"])
    assert starter.start(1) == 1 and not (commands / "sbatch.txt").exists()
    assert starter.start(3) == 3
    words = (commands / "sbatch.txt").read_text().split()
    assert {"--array=0-1", "--requeue", f"--nodes={nodes}", f"--gres=gpu:{gpus}"} <= set(words)
    assert words[-1] == "--time=5"
    assert f"--processes {processes} --no-wait &" in (commands / "sbatch.in").read_text()


def test_a_refusal_is_a_sentence(commands):
    (commands / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"--slurm: sbatch refused \(sbatch: error: no such partition\)\."):
        Slurm(commands).start(3)


def test_several_nodes_need_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_PARTITION", "gpu")
    words = on_nodes("pretrain-a", ["config.py", "--seed", "0"])
    assert words[-6].endswith("tools/slurm_train.sh")
    assert words[-5:] == ["gpu", "pretrain-a", "config.py", "--seed", "0"]
    monkeypatch.setattr("ssl_ext.apis.tables.slurm.__file__", str(tmp_path / "a" / "b" / "c" / "slurm.py"))
    with pytest.raises(UserError, match="needs a checkout"):
        on_nodes("pretrain-a", ["config.py"])


def test_workers_on_ray_share_gpus(monkeypatch, tmp_path):
    nodes = [dict(Alive=True, Resources=dict(GPU=count, CPU=8)) for count in (1, 2)]
    nodes.append(dict(Alive=True, Resources=dict(CPU=1)))
    cluster = SimpleNamespace(cluster_resources=lambda: dict(GPU=3, CPU=16), nodes=lambda: nodes)
    monkeypatch.setattr("ssl_ext.apis.tables.ray.connect", lambda: cluster)
    for workers, share, cpus in ((1, 1, 8), (2, 1, 8), (3, 1, 5), (4, 0.5, 4), (7, 1 / 3, 2)):
        assert Ray(tmp_path, workers=workers).slots == [dict(num_gpus=share, num_cpus=cpus)] * workers
    assert Ray(tmp_path, 2, workers=2).slots[0]["num_gpus"] == 2
    with pytest.raises(UserError, match="--ray: a job needs 8 GPUs of one machine; the largest has 2"):
        Ray(tmp_path, 8)
