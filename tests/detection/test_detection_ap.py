"""Average precision against pycocotools and slow loops of VOC's rules; several processes, edge cases."""

import json
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ssl_ext.detection import CocoDetection, DetectionEvaluator
from ssl_ext.detection.average_precision import ImageBoxes, voc_average_precision

CLASSES = ("cell", "platelet", "fungus")
WORLD = 2


def prediction(*rows):
    """Rows of x1, y1, x2, y2, score, label."""
    values = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return dict(boxes=values[:, :4], scores=values[:, 4], labels=values[:, 5].long())


def sample(image_id, *rows):
    """Rows of x1, y1, x2, y2, label, difficult."""
    values = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return dict(
        boxes=values[:, :4], labels=values[:, 4].long(), difficult=values[:, 5].bool(), image_id=image_id
    )


def measure(predictions, samples, classes=CLASSES):
    evaluator = DetectionEvaluator(classes)
    evaluator.add(predictions, samples)
    return evaluator.compute()


# Perfect, shifted, wrong class, detected twice, missed, in a difficult box, false positive.
CRAFTED = (
    [
        prediction((10, 10, 50, 50, 0.9, 0), (12, 13, 52, 53, 0.8, 0), (100, 100, 140, 160, 0.7, 1)),
        prediction((20, 20, 60, 80, 0.6, 0), (21, 22, 61, 80, 0.95, 0), (200, 10, 230, 40, 0.5, 1)),
        prediction((0, 0, 30, 30, 0.85, 0), (5, 5, 20, 20, 0.4, 0), (2, 1, 31, 30, 0.3, 0)),
        prediction(),
        prediction((50, 50, 99, 99, 0.99, 0), (60, 60, 70, 70, 0.2, 1)),
    ],
    [
        sample(4, (10, 10, 50, 50, 0, 0), (106, 100, 146, 160, 1, 0)),
        sample(2, (20, 20, 60, 80, 0, 0), (200, 10, 230, 40, 0, 0)),
        sample(7, (0, 0, 30, 30, 0, 1), (40, 40, 60, 60, 0, 0)),
        sample(1, (1, 1, 9, 9, 1, 0), (3, 3, 9, 9, 1, 1)),
        sample(3),
    ],
)


def random_set(images=12, seed=0):
    """True boxes (a sixth difficult) and noisy detections of most of them, without tied scores."""
    random = np.random.default_rng(seed)
    predictions, samples = [], []
    for number in range(images):
        count = int(random.integers(0, 6))
        corner, side = random.uniform(0, 60, (count, 2)), random.uniform(4, 60, (count, 2))
        boxes = np.concatenate([corner, corner + side], axis=1)
        labels, difficult = random.integers(0, 2, count), random.random(count) < 1 / 6
        samples.append(
            sample(number, *np.column_stack([boxes, labels, difficult]).tolist()),
        )
        rows = []
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(random.integers(0, 3)):
                width = box[2:] - box[:2]
                shifted = box + np.tile(width, 2) * random.normal(0, 0.12, 4)
                if (shifted[2:] > shifted[:2]).all():
                    rows.append([*shifted, random.random(), label if random.random() < 0.9 else 1 - label])
        rows += [[5, 5, 30, 40, random.random(), random.integers(0, 2)]] * int(random.integers(0, 2))
        predictions.append(prediction(*rows))
    return predictions, samples


def pycocotools_stats(predictions, samples, classes=CLASSES):
    """AP, AP50, AP75 as COCOeval summarises them, from files in COCO's own format."""
    truth, found = [], []
    for one, true in zip(predictions, samples, strict=True):
        for box, label, difficult in zip(true["boxes"], true["labels"], true["difficult"], strict=True):
            x1, y1, x2, y2 = box.double().tolist()
            entry = dict(image_id=true["image_id"], category_id=int(label) + 1, iscrowd=int(difficult))
            entry |= dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), id=len(truth) + 1)
            truth.append(entry)
        for box, label, score in zip(one["boxes"], one["labels"], one["scores"], strict=True):
            x1, y1, x2, y2 = box.double().tolist()
            entry = dict(image_id=true["image_id"], category_id=int(label) + 1, score=float(score))
            found.append(entry | dict(bbox=[x1, y1, x2 - x1, y2 - y1]))
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=true["image_id"]) for true in samples],
        categories=[dict(id=number, name=name) for number, name in enumerate(classes, 1)],
        annotations=truth,
    )
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[:3], evaluation.eval["precision"][:, :, :, 0, 2].mean(axis=(0, 1))


@pytest.mark.parametrize("data", [CRAFTED, random_set(), random_set(30, seed=1)])
def test_coco_values_are_those_of_pycocotools(data):
    expected, by_class = pycocotools_stats(*data)
    found = measure(*data)
    np.testing.assert_allclose([found["AP"], found["AP50"], found["AP75"]], expected, rtol=0, atol=1e-6)
    for value, name in zip(by_class[:2], CLASSES, strict=False):
        assert found["per_class"][name]["AP"] == pytest.approx(value, abs=1e-6)
    # The last class has no boxes: its AP is NaN and the means exclude it.
    assert by_class[2] == -1 and all(map(math.isnan, found["per_class"]["fungus"].values()))
    assert found["images"] == len(data[0])


def test_eighty_classes_and_crowds_from_cocos_own_files(tmp_path):
    """The file as pycocotools reads it, against the data set and the evaluator."""
    random = np.random.default_rng(0)
    ids = np.sort(random.choice(np.arange(1, 91), 80, replace=False)).tolist()
    images = [dict(id=3 * n + 7, file_name=f"{n}.png", width=90, height=80) for n in range(12)]
    truth, found = [], []
    for image in images:
        Image.new("L", (90, 80)).save(tmp_path / image["file_name"])
        for _ in range(30):
            (x, y), (w, h) = random.integers(0, 40, 2).tolist(), random.integers(5, 40, 2).tolist()
            place = dict(image_id=image["id"], category_id=int(random.choice(ids)), bbox=[x, y, w, h])
            crowd = bool(random.random() < 0.2)
            truth.append(dict(place, iscrowd=int(crowd), area=0.7 * w * h, id=len(truth) + 1))
            for _ in range(int(random.integers(0, 5 if crowd else 3))):
                box = [x + float(random.normal(0, 2)), y + float(random.normal(0, 2)), w, h]
                if crowd:  # a part of the crowd
                    box[2:] = w / 2, h / 2
                found.append(dict(place, bbox=box, score=float(random.random())))
    categories = [dict(id=number, name=f"class {number}") for number in reversed(ids)]
    content = dict(images=images, annotations=truth, categories=categories)
    (tmp_path / "instances.json").write_text(json.dumps(content))
    coco = COCO(str(tmp_path / "instances.json"))
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    dataset = CocoDetection(tmp_path, "instances.json")
    assert len(dataset.classes) == 80 and sum(r.difficult.sum() for r in dataset.records) > 50
    samples = [dataset[row]["data_samples"] for row in range(len(dataset))]
    predictions = [
        prediction(
            *(
                (x, y, x + w, y + h, one["score"], ids.index(one["category_id"]))
                for one in found
                if one["image_id"] == true["image_id"]
                for x, y, w, h in [one["bbox"]]
            )
        )
        for true in samples
    ]
    result = measure(predictions, samples, dataset.classes)
    expected = evaluation.stats[:3]
    assert 0.1 < expected[0] < 0.9
    np.testing.assert_allclose([result["AP"], result["AP50"], result["AP75"]], expected, rtol=0, atol=1e-6)


def test_only_the_best_hundred_count_for_coco():
    rows = [(300, 300, 310, 310, 0.9, 0)] * 100 + [(10, 10, 50, 50, 0.5, 0)]
    data = [prediction(*rows)], [sample(0, (10, 10, 50, 50, 0, 0))]
    assert pycocotools_stats(*data)[0][1] == measure(*data)["AP50"] == 0
    assert measure(*data)["voc_AP50"] == pytest.approx(1 / 101)


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def slow_voc(predictions, samples, label, threshold):
    """The development kit's procedure, detection by detection."""
    positives = sum(
        int(name == label and not hard)
        for true in samples
        for name, hard in zip(true["labels"], true["difficult"], strict=True)
    )
    queue = sorted(
        (
            (float(score), row, box.tolist())
            for row, one in enumerate(predictions)
            for box, score, name in zip(one["boxes"], one["scores"], one["labels"], strict=True)
            if name == label
        ),
        key=lambda entry: -entry[0],
    )
    taken, right, wrong, curve = set(), 0, 0, []
    for _, row, box in queue:
        best, where = -1.0, None
        for place, true in enumerate(samples[row]["boxes"].tolist()):
            if samples[row]["labels"][place] == label and slow_iou(box, true) > best:
                best, where = slow_iou(box, true), place
        if best >= threshold:
            if samples[row]["difficult"][where]:
                continue
            if (row, where) in taken:
                wrong += 1
            else:
                right += 1
                taken.add((row, where))
        else:
            wrong += 1
        curve.append((right / positives, right / (right + wrong)))
    eleven = 0.0
    for tenth in range(11):
        eleven += max([p for r, p in curve if r >= tenth / 10 - 1e-12], default=0.0) / 11
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - before) * max(p for _, p in curve[place:])
        before = recall
    return eleven, area


@pytest.mark.parametrize("data", [CRAFTED, random_set(), random_set(40, seed=3)])
def test_voc_values_are_those_of_a_slow_loop(data):
    found = measure(*data)
    names = {"AP50": 0.5, "AP75": 0.75}
    for label, name in enumerate(CLASSES[:2]):
        for key, threshold in names.items():
            eleven, area = slow_voc(*data, label, threshold)
            assert found["per_class"][name][f"voc07_{key}"] == pytest.approx(eleven, abs=1e-12)
            assert found["per_class"][name][f"voc_{key}"] == pytest.approx(area, abs=1e-12)
    thresholds = np.arange(50, 100, 5) / 100
    every = np.array([[slow_voc(*data, label, t) for t in thresholds] for label in range(2)])
    means = every.mean(axis=(0, 1))
    assert (found["voc07_AP"], found["voc_AP"]) == pytest.approx(tuple(means), abs=1e-12)
    assert found["voc_AP50"] == pytest.approx(every[:, 0, 1].mean(), abs=1e-12)


def test_eleven_points_at_recalls_that_are_exactly_reached():
    # 3 of 10 are detected, true positives first: recall 3/10 counts despite rounding of 0.3.
    truth = np.array([[20.0 * i, 0, 20 * i + 10, 10] for i in range(10)])
    image = ImageBoxes(truth[:3], np.array([0.9, 0.8, 0.7]), truth, np.zeros(10, bool))
    assert voc_average_precision([image], [0.5])[0] == pytest.approx([4 / 11, 0.3])


def test_an_overlap_of_exactly_the_threshold_counts():
    image = ImageBoxes(
        np.array([[0.0, 0, 10, 5]]), np.ones(1), np.array([[0.0, 0, 10, 10]]), np.zeros(1, bool)
    )
    assert voc_average_precision([image], [0.5, 0.51]).tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_difficult_boxes_neither_count_nor_punish():
    easy, hard = (10, 10, 50, 50, 0), (60, 60, 90, 90, 0)
    both = sample(0, (*easy, 0), (*hard, 1))
    for found in ([(*easy[:4], 0.5, 0)], [(*easy[:4], 0.5, 0), (*hard[:4], 0.9, 0), (*hard[:4], 0.8, 0)]):
        values = measure([prediction(*found)], [both], CLASSES[:1])
        for key in ("AP", "AP50", "voc07_AP50", "voc_AP50"):
            assert values[key] == pytest.approx(1)
    only_hard = measure([prediction((*hard[:4], 0.9, 0))], [sample(0, (*hard, 1))], CLASSES[:1])
    assert math.isnan(only_hard["AP"]) and math.isnan(only_hard["voc_AP50"])


def test_no_predictions_and_no_boxes():
    values = measure([prediction()] * 2, [sample(0, (1, 1, 5, 5, 0, 0)), sample(1)])
    figures = {key: value for key, value in values.items() if isinstance(value, float)}
    assert len(figures) == 9 and set(figures.values()) == {0.0}
    assert math.isnan(values["per_class"]["platelet"]["AP"])
    for found in (prediction(), prediction((1, 1, 5, 5, 0.9, 0))):
        values = measure([found], [sample(0)])
        assert math.isnan(values["AP"]) and math.isnan(values["voc07_AP50"])
    with pytest.raises(ValueError, match="no images were added"):
        DetectionEvaluator(CLASSES).compute()


def test_order_and_repeated_images_change_nothing():
    predictions, samples = random_set()
    expected = measure(predictions, samples)
    evaluator = DetectionEvaluator(CLASSES)
    for row in [5, 3, 5, *range(12), 0]:
        evaluator.add([predictions[row]], [samples[row]])
    assert repr(evaluator.compute()) == repr(expected)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    predictions, samples = random_set(7)
    evaluator = DetectionEvaluator(CLASSES)
    # As a sampler distributes 7 images: the last process repeats the first image.
    for row in [*range(rank, 7, WORLD), *([0] if rank else [])]:
        evaluator.add([predictions[row]], [samples[row]])
    torch.save(repr(evaluator.compute()), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path):
    # Forked, because importing everything in two new interpreters is slow.
    mp.start_processes(work, args=(str(tmp_path),), nprocs=WORLD, start_method="fork")
    expected = repr(measure(*random_set(7)))
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)] == [expected] * WORLD


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (prediction((1, 1, 5, 5, 0.5, 3)), r"prediction of image 8: labels must be 0 to 2, got \[3\]"),
        (prediction((1, 1, 5, 5, math.nan, 0)), "boxes and scores must be finite"),
        (prediction((1, math.inf, 5, 5, 0.5, 0)), "boxes and scores must be finite"),
        (prediction((5, 1, 1, 5, 0.5, 0)), "x1 <= x2"),
        (dict(prediction((1, 1, 5, 5, 0.5, 0)), scores=torch.zeros(2)), "1 boxes, 1 labels, 2 scores"),
    ],
)
def test_bad_predictions(found, message):
    with pytest.raises(ValueError, match=message):
        DetectionEvaluator(CLASSES).add([found], [sample(8)])


def test_numbers_of_images_must_agree():
    with pytest.raises(ValueError, match="predictions of 1 images for 2 images"):
        DetectionEvaluator(CLASSES).add([prediction()], [sample(0), sample(1)])


def test_half_precision_and_a_box_without_area():
    found = prediction((10, 10, 50, 50, 0.5, 0), (3, 3, 3, 3, 0.25, 0))
    found |= {key: found[key].bfloat16() for key in ("boxes", "scores")}
    assert measure([found], [sample(0, (10, 10, 50, 50, 0, 0))])["voc_AP50"] == 1
