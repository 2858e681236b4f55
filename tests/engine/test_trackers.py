"""Training logged to Weights & Biases and MLflow, without a network."""

import sys

import pytest

from ssl_ext import pretrain
from ssl_ext.errors import UserError


@pytest.fixture
def train(tiny_config, tmp_path):
    """Trains one epoch with a further backend of the visualizer."""

    def trained(**backend):
        tiny_config.default_hooks.logger.interval = 1
        tiny_config.visualizer.vis_backends = [dict(type="LocalVisBackend"), backend]
        return pretrain(tiny_config, epochs=1, work_dir=tmp_path / "run")

    return trained


@pytest.mark.slow
def test_wandb_offline(train, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(type="WandbVisBackend", init_kwargs=dict(project="digits"))
    assert wandb.run is None
    (file,) = run.work_dir.rglob("*.wandb")
    content = file.read_bytes()
    for key in ("loss_invariance", "knn_top1"):
        assert key.encode() in content and repr(run.metrics[key]).encode() in content


@pytest.mark.slow
def test_mlflow_in_a_file(train, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    store = f"sqlite:///{tmp_path}/mlflow.db"
    files = dict(artifact_location=str(tmp_path / "mlruns"))
    run = train(type="MLflowVisBackend", tracking_uri=store, exp_name="digits", **files)
    client = mlflow.MlflowClient(store)
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert (logged.info.status, logged.data.params["model.type"]) == ("FINISHED", "TriMix")
    losses = [(number["step"], number["loss"]) for number in run.curve if "loss" in number]
    history = client.get_metric_history(logged.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == losses
    assert list((tmp_path / "mlruns").rglob("config.py"))
    assert logged.data.metrics["knn_top1"] == run.metrics["knn_top1"]


def test_a_missing_package_is_one_sentence(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        train(type="WandbVisBackend")
