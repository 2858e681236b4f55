"""Paths in one buffer, mapped arrays, and the index of a large folder."""

import gc
import logging
import multiprocessing
import os
import pickle

import numpy as np
import pytest
import torch

from ssl_ext.config.data import build_train_loader
from ssl_ext.datasets import DefaultSampler, FolderDataset, listing
from ssl_ext.datasets.listing import image_names, list_images
from ssl_ext.datasets.mapped import MappedArray, map_array, read_arrays, write_arrays
from ssl_ext.datasets.paths import Paths
from ssl_ext.errors import UserError

ODD = os.fsdecode(b"caf\xe9.png")
NAMES = ["b.png", f"a/{ODD}", "a/ä.png", "a/deep/1.jpg", "c/2.JPG"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of empty image files, of which every listing is indexed, and the log."""
    monkeypatch.setattr(listing, "INDEXED_FROM", 1)
    monkeypatch.setattr(listing, "SETTLED", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "images"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def walks(monkeypatch):
    """Roots that are listed from now on."""
    found, walk = [], listing.walk
    monkeypatch.setattr(
        listing,
        "walk",
        lambda root, inside="", above=(): (
            found.append(root) if not inside else None,
            walk(root, inside, above),
        )[1],
    )
    return found


def index_of(tmp_path):
    (path,) = (tmp_path / "cache/ssl_ext").iterdir()
    return path


def test_paths_are_a_sequence_of_strings():
    names = ["b.png", ODD, "", "ä/1.png"]
    paths = Paths.of(names)
    assert paths == names and list(paths) == names and names == list(paths)
    assert paths != names[:3] and paths != "b.png" and paths != [*names[:3], "x"]
    assert (paths[-1], paths[1:3], paths + ["x"]) == ("ä/1.png", [ODD, ""], [*names, "x"])
    assert (len(paths), ODD in paths, paths.index(ODD), bool(Paths.of([]))) == (4, True, 1, False)
    for index in (4, -5):
        with pytest.raises(IndexError):
            paths[index]
    rooted = Paths.of(names, root="data")
    assert (rooted[0], rooted.name(1)) == ("data/b.png", ODD)
    assert repr(rooted) == "Paths(4, first 'data/b.png')"


def test_mapped_arrays_are_shared_with_other_processes(tmp_path):
    arrays = {"a": np.arange(1000, dtype="<i4").reshape(2, 500), "none": np.empty(0, "<i8"), "b": np.ones(3)}
    write_arrays(tmp_path / "arrays", {"x": [1, "ä"]}, arrays)
    meta, found = read_arrays(tmp_path / "arrays")
    assert meta == {"x": [1, "ä"]} and list(found) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype
    data = pickle.dumps(found["a"])
    assert len(data) < 500 and np.array_equal(pickle.loads(data), arrays["a"])
    assert isinstance(pickle.loads(data), MappedArray)
    # A view has another place in the file, and is pickled by value.
    assert np.array_equal(pickle.loads(pickle.dumps(found["a"][1:, 3:])), arrays["a"][1:, 3:])
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0, 0] = 1


def test_bytes_of_a_file_become_numbers_alone(tmp_path):
    path = tmp_path / "arrays"
    write_arrays(path, {}, {"x": np.array(["text"], "S8")})
    with pytest.raises(UserError, match=r"arrays: has an array of dtype '\|S8', not of numbers"):
        read_arrays(path)
    for dtype in ("|O", "f8,O", "nonsense", "f8,,", [["a", "|O"]], {"a": 1}):
        with pytest.raises(UserError, match="arrays: has an array of dtype .*, not of numbers"):
            map_array(path, dtype, (1,))


def test_an_unchanged_folder_is_listed_once(folder, tmp_path, walks):
    first = list_images(folder)
    assert [os.path.relpath(path, folder) for path in first.files] == image_names(folder)
    assert (list(first.folders), first.counts.tolist()) == (["", "a", "a/deep", "c"], [1, 2, 1, 1])
    walks.clear()
    second = list_images(folder)
    assert walks == [] and isinstance(second.files.buffer, MappedArray)
    assert second.files == first.files and second.folders == first.folders
    assert second.counts.tolist() == first.counts.tolist()
    assert index_of(tmp_path).suffix == ".index"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a/new.png").touch(),
        lambda root: (root / "a/deep/1.jpg").unlink(),
        lambda root: (root / "c/2.JPG").rename(root / "c/3.JPG"),
        lambda root: (root / "a/deep").rename(root / "deep"),
        lambda root: (root / "new").mkdir(),
    ],
)
def test_a_changed_folder_is_listed_again(folder, walks, caplog, change):
    list_images(folder)
    times = {name: os.stat(folder / name).st_mtime_ns for name in ("", "a", "c", "a/deep")}
    walks.clear()
    change(folder)
    for name, time in times.items():
        if (folder / name).exists():
            # As archives and rsync restore them: times of modification are not evidence.
            os.utime(folder / name, ns=(time, time))
    with caplog.at_level(logging.INFO):
        files = list_images(folder).files
    assert walks and [os.path.relpath(path, folder) for path in files] == image_names(folder)


def test_a_file_added_during_the_listing_is_found_by_the_next(folder, tmp_path, monkeypatch):
    walk = listing.walk

    def added(*places):
        for found in walk(*places):
            (folder / found.name / "new.png").touch()
            yield found

    monkeypatch.setattr(listing, "SETTLED", -(10**12))  # as on a file server whose clock is behind
    with monkeypatch.context() as patch:
        patch.setattr(listing, "walk", added)
        assert len(list_images(folder).files) == len(NAMES)
    assert index_of(tmp_path).exists()
    assert len(list_images(folder).files) == len(NAMES) + 4


def test_a_broken_link_is_found_although_its_folder_has_not_changed(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.png").touch()
    (tmp_path / "elsewhere/2.png").symlink_to("1.png")
    (folder / "link.png").symlink_to("../elsewhere/2.png")
    assert len(list_images(folder).files) == len(list_images(folder).files) == len(NAMES) + 1
    (tmp_path / "elsewhere/1.png").unlink()
    with pytest.raises(UserError, match="link.png: is a broken link to '../elsewhere/2.png'"):
        list_images(folder)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[:-9] + b"x" + data[-8:], lambda data: b""]
)
def test_a_damaged_index_is_replaced(folder, tmp_path, walks, change):
    list_images(folder)
    path = index_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    walks.clear()
    assert [os.path.relpath(name, folder) for name in list_images(folder).files] == image_names(folder)
    assert walks[0] == folder and path.read_bytes() == whole


@pytest.mark.parametrize(("settled", "written"), [(10**12, 0), (0, 1)])
def test_a_folder_that_changes_now_is_not_indexed(folder, tmp_path, monkeypatch, settled, written):
    """A later change could fall into the same step of the file system's clock."""
    monkeypatch.setattr(listing, "SETTLED", settled)
    list_images(folder)
    assert len(list((tmp_path / "cache/ssl_ext").iterdir())) == written


def test_small_folders_and_read_only_homes_are_listed_each_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "INDEXED_FROM", len(NAMES) + 1)
    list_images(folder)
    assert list((tmp_path / "cache/ssl_ext").iterdir()) == []
    monkeypatch.setattr(listing, "INDEXED_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "b.png"))
    assert len(list_images(folder).files) == len(NAMES)


def _list(root, answers):
    listing.INDEXED_FROM, listing.SETTLED = 1, 0
    found = list_images(root)
    answers.put((list(found.files), isinstance(found.files.buffer, MappedArray)))


def test_processes_that_start_together_list_once(folder):
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    processes = [fork.Process(target=_list, args=(folder, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert [names for names, _ in found] == [found[0][0]] * 4
    assert all(mapped for _, mapped in found)


def test_a_folder_data_set_of_an_index_equals_the_first(folder):
    (folder / "b.png").unlink()
    first, second = (FolderDataset(data_root=str(folder), image_size=8) for _ in range(2))
    assert second.files == first.files and second.labels.tolist() == first.labels.tolist() == [0, 0, 0, 1]
    assert second.classes == first.classes == ("a", "c")
    assert pickle.loads(pickle.dumps(second)).files == first.files


def test_seeded_rows_are_made_one_at_a_time(folder):
    (folder / "b.png").unlink()
    data = FolderDataset(data_root=str(folder), image_size=8, crop="random")
    rows = iter(DefaultSampler(data, shuffle=True, seed=0))
    assert not isinstance(rows, (list, type(iter([]))))
    found = list(rows)
    assert sorted(found) == [0, 1, 2, 3] and len({row.seed for row in found}) == 4
    sampler = DefaultSampler(data, shuffle=True, seed=0)
    sampler.skip = 3
    assert [(int(row), row.seed) for row in sampler] == [(int(found[3]), found[3].seed)]


def test_a_garbage_collection_in_a_worker_leaves_inherited_objects_alone(folder, tiny_config, monkeypatch):
    (folder / "b.png").unlink()
    count = lambda data, index: dict(inputs=torch.tensor(gc.get_freeze_count()))  # noqa: E731
    monkeypatch.setattr(FolderDataset, "__getitem__", count)
    dataset = dict(type="FolderDataset", data_root=str(folder), image_size=8)
    tiny_config.train_dataloader.update(dataset=dataset, batch_size=2, num_workers=1)
    batch = next(iter(build_train_loader(tiny_config)))
    assert batch["inputs"].min() > 10_000 > gc.get_freeze_count()
