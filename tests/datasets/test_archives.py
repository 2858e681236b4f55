"""Archives with members outside their folder, zip bombs, and downloads with a wrong checksum."""

import gzip
import hashlib
import io
import os
import tarfile
import zipfile

import pytest
from torchvision.datasets import utils

from ssl_ext.datasets.archives import MAX_RATIO, download_and_extract_archive, download_url, unpack


def tar(path, *members):
    """Write a tar archive; members are (name, type, link target, bytes)."""
    with tarfile.open(path, f"w:{path.suffix[1:]}") as archive:
        for name, kind, link, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, link, len(content), 0o4777
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, *members):
    """Write a zip archive; members are (name, Unix file type, bytes)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, content)
    return path


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
TARS = {
    "a path upwards": [("../escaped", FILE, "", b"x")],
    "a path upwards in the middle": [("a/../../escaped", FILE, "", b"x")],
    "an absolute path": [("{outside}/escaped", FILE, "", b"x")],
    "a link and a file through it": [("link", LINK, "{outside}", b""), ("link/escaped", FILE, "", b"x")],
    "a link upwards": [("escaped", LINK, "../outside/secret", b"")],
    "a link to a file": [("escaped", LINK, "{outside}/secret", b"")],
    "a hard link": [("escaped", HARD, "{outside}/secret", b"")],
    "a device": [("escaped", tarfile.CHRTYPE, "", b"")],
    "a pipe": [("escaped", tarfile.FIFOTYPE, "", b"")],
}
ZIPS = {
    "a path upwards": [("../escaped", 0o100000, b"x")],
    "a path upwards with the other slash": [("..\\escaped", 0o100000, b"x")],
    "an absolute path": [("{outside}/escaped", 0o100000, b"x")],
    "a drive": [("C:\\escaped", 0, b"x")],
    "a link": [("escaped", 0o120000, b"{outside}/secret")],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("kept")
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def filled(value, folder):
    outside = str(folder.parent / "outside")
    return (
        value.format(outside=outside)
        if isinstance(value, str)
        else value.replace(b"{outside}", outside.encode())
        if isinstance(value, bytes)
        else value
    )


def refused(archive, folder, message):
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ValueError, match=message) as error:
        unpack(archive, folder)
    assert str(archive) in str(error.value)
    assert sorted(folder.parent.rglob("*")) == before
    assert (folder.parent / "outside/secret").read_text() == "kept"


@pytest.mark.parametrize("kind", TARS)
@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz"])
def test_no_member_of_a_tar_leaves_the_folder(folder, kind, suffix):
    members = [tuple(filled(part, folder) for part in member) for member in TARS[kind]]
    path = tar(folder / "a.gz", ("good", FILE, "", b"y"), *members).rename(folder / f"a{suffix}")
    refused(path, folder, "outside the folder|link or a device")


@pytest.mark.parametrize("kind", ZIPS)
def test_no_member_of_a_zip_leaves_the_folder(folder, kind):
    members = [tuple(filled(part, folder) for part in member) for member in ZIPS[kind]]
    refused(
        zipped(folder / "a.zip", ("good", 0, b"y"), *members), folder, "outside the folder|link or a device"
    )


def test_bombs_are_not_unpacked(folder):
    zeros = bytes(4 * 2**20)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", zeros)
    refused(folder / "a.zip", folder, f"{MAX_RATIO} times")
    refused(tar(folder / "b.gz", ("zeros", FILE, "", zeros)).rename(folder / "b.tgz"), folder, "times")
    (folder / "c.gz").write_bytes(gzip.compress(zeros))
    refused(folder / "c.gz", folder, "times")


def test_what_is_harmless_is_unpacked_without_its_permissions(folder):
    unpack(tar(folder / "a.gz", ("d/one", FILE, "", b"1")).rename(folder / "a.tar.gz"), folder)
    unpack(zipped(folder / "b.zip", ("d/two", 0o100000, b"2")), folder)
    (folder / "three.gz").write_bytes(gzip.compress(b"3"))
    unpack(folder / "three.gz", folder)
    assert [(folder / name).read_text() for name in ("d/one", "d/two", "three")] == ["1", "2", "3"]
    assert os.stat(folder / "d/one").st_mode & 0o7022 == 0


@pytest.fixture
def server(monkeypatch):
    """Serve given files for any URL."""
    served = {"content": b"", "asked": 0}

    def fetch(url, filename, *_):
        served["asked"] += 1
        with open(filename, "wb") as file:
            file.write(served["content"])

    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(utils, "_urlretrieve", fetch)
    return served


def test_a_wrong_checksum_keeps_nothing_and_replaces_nothing(tmp_path, server):
    server["content"] = b"something else"
    md5 = hashlib.md5(b"the right bytes").hexdigest()
    with pytest.raises(RuntimeError):
        download_url("http://x/a.bin", tmp_path / "new", "a.bin", md5)
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "new/a.bin").write_text("what was there")
    with pytest.raises(RuntimeError):
        download_url("http://x/a.bin", tmp_path / "new", "a.bin", md5)
    assert (tmp_path / "new/a.bin").read_text() == "what was there"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_a_right_checksum_is_kept_and_fetched_once(tmp_path, server):
    archive = zipped(tmp_path / "a.zip", ("d/file", 0, b"content"))
    server["content"] = archive.read_bytes()
    md5 = hashlib.md5(server["content"]).hexdigest()
    for _ in range(2):
        download_and_extract_archive("http://x/b.zip", tmp_path / "data", md5=md5)
    assert (tmp_path / "data/d/file").read_bytes() == b"content"
    assert server["asked"] == 1
