"""The detection benchmark trains the same detector twice on the same images; times are not tested."""

import copy

import pytest
import torch
from benchmarks import detect
from benchmarks.workload import OURS

from ssl_ext.apis import load_config
from ssl_ext.errors import UserError

COUNT = 4


@pytest.fixture
def small(tmp_path):
    config = load_config(detect.DEFAULT)
    config.model.backbone.update(stem_channels=4, base_channels=4)
    config.model.data_preprocessor.update(short_sides=(64, 72), max_size=96)
    config.model.rpn.update(pre_nms=(100, 50), post_nms=(50, 20))
    config.model.roi.batch_size = 8
    config.dump(tmp_path / "small.py")
    return tmp_path / "small.py"


def test_both_train_the_same_detector_on_all_images(small, tmp_path):
    config = load_config(small)
    (tmp_path / "voc").mkdir()
    detect.write_voc(tmp_path / "voc", COUNT, ("RBC", "WBC", "Platelets"))
    work = detect.Detection(config, str(tmp_path / "voc"), 2, 0, 1)
    assert [len(record.boxes) for record in work.dataset().records] == [detect.BOXES] * COUNT
    seen = []

    def use(contenders):
        assert [contender.name for contender in contenders] == [detect.REFERENCE, OURS]
        reference, ours = (contender.model for contender in contenders)
        weights = [
            {k: v for k, v in m.state_dict().items() if k.startswith(("rpn.", "roi_heads."))}
            for m in (reference, ours)
        ]
        torch.testing.assert_close(*weights, rtol=0, atol=0)
        for contender in contenders:
            batches, trained = [], [p for p in contender.model.parameters() if p.requires_grad]
            before = copy.deepcopy(trained)
            trunk = ours.backbone if contender.name == OURS else reference.backbone.model.backbone
            hook = trunk.register_forward_pre_hook(lambda _, x, batches=batches: batches.append(x[0]))
            contender.epoch()
            hook.remove()
            assert len(batches) == COUNT // 2
            for batch in batches:
                assert (
                    len(batch) == 2
                    and {side % 32 for side in batch.shape[2:]} == {0}
                    and 64 <= batch.shape[2] <= 96
                )
                assert batch.mean().abs() < 0.7 and 0.2 < batch.std() < 2
            # A bias before a normalisation has no gradient.
            assert sum(not torch.equal(a, b) for a, b in zip(before, trained, strict=True)) > 0.9 * len(
                trained
            )
            seen.append(len(trained))

    detect.with_both(work, use)
    assert seen[0] == seen[1]


def test_it_prints_both_and_their_memory(run_tool, small, monkeypatch):
    monkeypatch.setattr(detect, "peak_alone", lambda name, **settings: 2**20)
    printed, figures = run_tool("detect", "--config", small, "--batch-size", 2, "--steps", 1)
    assert "torchvision 1 MiB, ssl_ext 1 MiB" in printed
    assert {len(times) for times in figures["seconds"].values()} == {5} and figures["items"] == 2
    with pytest.raises(UserError, match="does not exist"):
        detect.run(None, config="no/such.py", batch_size=1, steps=1, workers=0, pairs=5)
