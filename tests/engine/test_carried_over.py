"""Checkpoint contents besides the model: gradients, per-process buffers, a bounded log."""

import numpy as np
import pytest
import torch
from killed_runs import output, run_differences, train
from methods import IMAGES, tiny_run, write_images
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope

from ssl_ext.apis import build_model, pretrain
from ssl_ext.datasets.sampler import DefaultSampler, drawn_for
from ssl_ext.engine import load_weights, read_checkpoint, write_checkpoint
from ssl_ext.engine.hooks import train_log
from ssl_ext.engine.weights.load import training_buffers

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="bit for bit on the CPU; run with CUDA_VISIBLE_DEVICES="
)


@pytest.fixture
def images(tmp_path):
    init_default_scope("ssl_ext")
    write_images(tmp_path / "images.npz")
    return tmp_path / "images.npz"


def test_gradients_that_wait_for_an_update_are_kept(images, tmp_path):
    """Of 6 iterations the fourth and the last one update; the run is stopped after the third."""
    config = tiny_run("SimCLR", images)
    config.optim_wrapper.accumulative_counts = 4
    assert train(config, tmp_path / "whole") == [0], output(tmp_path / "whole")
    assert train(config, tmp_path / "cut", hooks=[dict(type="KillHook", step=3)]) == [-9]
    (state,) = read_checkpoint(tmp_path / "cut" / "iter_3.pth")["process_states"]
    assert any(gradient.abs().max() > 0 for gradient in state["gradients"].values())
    assert train(config, tmp_path / "cut", resume="auto") == [0], output(tmp_path / "cut")
    assert run_differences(tmp_path / "whole", tmp_path / "cut", "iter_6.pth") == []
    (state,) = read_checkpoint(tmp_path / "cut" / "iter_6.pth")["process_states"]
    assert state == dict(buffers={}, gradients={})


def test_running_statistics_of_a_second_process_are_kept_and_nothing_that_is_shared(images, tmp_path):
    config = tiny_run("AMixC", images, world=2)
    assert train(config, tmp_path / "run", world=2) == [0, 0], output(tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run" / "iter_6.pth")
    first, second = checkpoint["process_states"]
    assert first["buffers"] == {}
    assert {name.rpartition(".")[2] for name in second["buffers"]} == {"running_mean", "running_var"}
    for name, value in second["buffers"].items():
        assert not torch.equal(value, checkpoint["state_dict"][name]), name


def test_the_history_of_the_log_is_bounded_and_resumes_exactly(images, tmp_path, monkeypatch):
    monkeypatch.setattr(train_log, "HISTORY", 2)
    config = tiny_run("SimCLR", images)
    config.log_processor = dict(window_size=2)
    assert train(config, tmp_path / "whole") == [0], output(tmp_path / "whole")
    assert train(config, tmp_path / "cut", hooks=[dict(type="KillHook", step=4)]) == [-9]
    assert train(config, tmp_path / "cut", resume="auto") == [0], output(tmp_path / "cut")
    assert run_differences(tmp_path / "whole", tmp_path / "cut", "iter_6.pth") == []
    scalars = read_checkpoint(tmp_path / "cut" / "iter_6.pth")["message_hub"]["log_scalars"]
    # Logs of whole epochs need the 3 steps of an epoch.
    assert {len(history.data[0]) for name, history in scalars.items() if "loss" in name} == {2}


@pytest.mark.parametrize("persistent", [False, True])
def test_crops_that_workers_draw_go_on_where_they_were(persistent, images, tmp_path):
    """Killed within the second epoch; draws of workers are not stored."""
    from PIL import Image

    arrays = np.load(images)
    for row, (image, label) in enumerate(zip(arrays["x_train"], arrays["y_train"], strict=True)):
        folder = tmp_path / "files" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((16, 16)).save(folder / f"{row}.png")
    config = tiny_run("SimCLR", images)
    config.train_dataloader.update(
        num_workers=2,
        persistent_workers=persistent,
        dataset=dict(
            type="FolderDataset",
            data_root=str(tmp_path / "files"),
            split="train",
            image_size=8,
            crop="random",
        ),
    )
    config.custom_hooks = config.custom_hooks[:1]
    assert train(config, tmp_path / "whole") == [0], output(tmp_path / "whole")
    assert train(config, tmp_path / "cut", hooks=[dict(type="KillHook", step=4)]) == [-9]
    assert train(config, tmp_path / "cut", resume="auto") == [0], output(tmp_path / "cut")
    assert run_differences(tmp_path / "whole", tmp_path / "cut", "iter_6.pth") == []


def test_a_row_is_drawn_anew_in_every_epoch_and_on_every_process():
    class Drawing:
        draws = True

        def __len__(self):
            return 6

    seeds = []
    for rank in (0, 1):
        sampler = DefaultSampler(Drawing(), seed=3)
        sampler.rank, sampler.world_size, sampler.num_samples = rank, 2, 3
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            rows = list(sampler)
            sampler.skip = 1
            assert [(row, row.seed) for row in rows[1:]] == [(row, row.seed) for row in sampler]
            seeds += [row.seed for row in rows]
    assert len(set(seeds)) == 12
    torch.manual_seed(0)
    with drawn_for(rows[0]):
        first = torch.rand(3)
    later = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(later, torch.rand(3)) and not torch.equal(first, later)
    with drawn_for(rows[0]):
        assert torch.equal(first, torch.rand(3))
    with drawn_for(int(rows[0])):
        assert not torch.equal(first, torch.rand(3))


@pytest.mark.parametrize(("window", "kept"), [(2, 5), (7, 7), ("epoch", 5), ("global", 6)])
def test_as_much_history_is_kept_as_the_log_looks_back(window, kept, monkeypatch):
    class Runner:
        class log_processor:
            window_size = 3
            custom_cfg = (dict(data_src="loss", method_name="mean", window_size=window), dict(data_src="lr"))

        train_dataloader, max_iters = range(4), 6

    monkeypatch.setattr(train_log, "HISTORY", 5)
    assert train_log.history_length(Runner) == kept


@pytest.mark.parametrize(
    ("case", "counters"),
    [
        ("SwAV", {"steps"}),
        ("MoCo", {"queues.0.features", "queues.0.pointer"}),
        ("AMix", {"mask_scale"}),
        ("ODC", {f"cluster_bank.{name}" for name in ("features", "labels", "centroids", "started")}),
        ("PIRL-rotation", {"bank.features"}),
        ("BYOL", set()),
    ],
)
def test_weights_to_start_from_bring_no_counters(case, counters, images, tmp_path):
    config = tiny_run(case, images)

    def build(seed):
        torch.manual_seed(seed)
        model = build_model(config)
        model.set_dataset_size(IMAGES)
        return model

    old, new = build(0), build(1)
    with torch.no_grad():
        for value in old.state_dict().values():
            value.add_(1)
    assert training_buffers(new) == counters
    before = {name: value.clone() for name, value in new.state_dict().items()}
    write_checkpoint(dict(state_dict=old.state_dict()), tmp_path / "old.pth")
    report = load_weights(new, tmp_path / "old.pth", training_state=False)
    for name, value in new.state_dict().items():
        assert torch.equal(value, (before if name in counters else old.state_dict())[name]), name
    assert set(report.matched) == before.keys() - counters and not report.unexpected
    assert torch.equal(new.backbone.bn1.running_mean, old.backbone.bn1.running_mean)
    load_weights(new, tmp_path / "old.pth")
    for name in counters:
        assert torch.equal(new.state_dict()[name], old.state_dict()[name]), name


def test_a_run_started_from_weights_counts_its_own_steps(images, tmp_path):
    """Prototypes are frozen in the first steps of the new run, independent of the old run's steps."""
    config = tiny_run("SwAV", images)
    config.model.freeze_prototypes_steps = 4
    pretrain(config, work_dir=tmp_path / "old")
    options = {"train_cfg.max_epochs": 1}
    init = tmp_path / "old" / "iter_6.pth"
    model = pretrain(config, work_dir=tmp_path / "new", init=init, options=options)
    assert int(model.steps) == 3
    stored = read_checkpoint(init)["state_dict"]
    assert int(stored["steps"]) == 6
    torch.testing.assert_close(model.head.prototypes.data, stored["head.prototypes"], rtol=1e-6, atol=1e-7)
    # The same command resumes that run and does not restart from the weights.
    again = pretrain(config, work_dir=tmp_path / "new", init=init, resume="auto")
    assert int(again.steps) == 6
    assert not torch.equal(again.head.prototypes, model.head.prototypes)


def test_a_buffer_of_a_long_run_stays_small(tmp_path):
    """Size of the log buffer after 100,000 steps, with and without the bound."""
    sizes = {}
    for length in (10**6, train_log.HISTORY):
        history = HistoryBuffer([0.0] * 100_000, [1] * 100_000)
        history.max_length = length
        history.update(1.0)
        hub = dict(log_scalars={"train/loss": history}, runtime_info={}, resumed_keys={})
        write_checkpoint(dict(message_hub=hub), tmp_path / "a.pth")
        sizes[length] = (tmp_path / "a.pth").stat().st_size
    assert sizes[10**6] > 16 * 100_000 and sizes[train_log.HISTORY] < 20_000
