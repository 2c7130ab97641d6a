"""Pictures at a URL."""

from __future__ import annotations

import io
import threading
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from gensweep.data.image_folder import image_folder
from gensweep.data.url_folder import local_copy
from gensweep.errors import GensweepError, ParameterError
from gensweep.remote_folder import RemoteFolder


def picture(value):
    file = io.BytesIO()
    Image.fromarray(np.full((12, 12, 3), value, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def remote(s3):
    """A bucket with two classes of three pictures each."""
    folder = RemoteFolder(s3.url(f"{uuid4().hex[:6]}/pictures"))
    for number in range(6):
        folder.write(f"{'cat' if number % 2 else 'dog'}/{number}.png", picture(40 * number))
    s3.requests.clear()
    return folder


def fetched(s3):
    return sorted(
        {path.partition("?")[0].rpartition("/")[2] for method, path in s3.requests if method == "GET"} - {"bucket"}
    )


def test_an_image_folder_at_a_url_is_the_same_data_set_as_the_folder(remote, tmp_path):
    here = tmp_path / "pictures"
    for name in remote.files():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        remote.download(name, here / name)
    one, other = (image_folder("train", tmp_path / "cache", path=path, size=8) for path in (str(here), remote.place))
    assert one.fingerprint == other.fingerprint
    assert (one.name, one.class_names) == (other.name, other.class_names) == ("pictures/train", ("cat", "dog"))


def test_only_what_is_new_is_fetched_and_what_has_gone_goes(remote, tmp_path, s3):
    lines = []
    folder = local_copy(remote.place, tmp_path, lines.append)
    assert len(fetched(s3)) == 6
    assert lines[0].startswith("fetching 6 files (0 MB) from s3://")
    assert lines[-1] == "fetched 6 files"
    s3.requests.clear()
    assert local_copy(remote.place, tmp_path, lines.append) == folder
    assert (fetched(s3), len(lines)) == ([], 2)
    remote.write("cat/1.png", picture(7) + b"longer")
    remote.write("cat/9.png", picture(9))
    remote.delete("dog/0.png")
    (folder / "dog/2.png").unlink()
    (folder / "dog/4.png").write_bytes(b"")
    s3.requests.clear()
    local_copy(remote.place, tmp_path)
    assert fetched(s3) == ["1.png", "2.png", "4.png", "9.png"]
    assert sorted(f.relative_to(folder).as_posix() for f in folder.rglob("[!.]*.png")) == sorted(remote.files())


def test_of_several_workers_one_fetches(remote, tmp_path, s3):
    threads = [threading.Thread(target=local_copy, args=(remote.place, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(s3.count("GET", f"{number}.png") for number in range(6)) == 1


def test_a_fetch_that_was_interrupted_goes_on(remote, tmp_path, s3, monkeypatch):
    download = RemoteFolder.download

    def refused(self, name, file):
        if name == "dog/4.png":
            file.write_bytes(b"half")
            raise OSError("away")
        download(self, name, file)

    with monkeypatch.context() as broken:
        broken.setattr(RemoteFolder, "download", refused)
        with pytest.raises(GensweepError, match="cannot be fetched: away"):
            local_copy(remote.place, tmp_path)
    images = image_folder("train", tmp_path, path=remote.place, size=8, test_fraction=0.0)
    assert (len(images), images.notes) == (6, ())


def test_a_url_with_nothing_below_is_refused(s3, tmp_path):
    with pytest.raises(ParameterError, match="holds no files"):
        local_copy(s3.url("nothing-here"), tmp_path)


@pytest.mark.parametrize("name", ["/../evil.png", "cat/../../../evil.png", "/evil.png"])
def test_a_name_that_leads_out_of_the_cache_is_refused(remote, tmp_path, s3, name):
    s3.put(remote.place, name, picture(1))
    with pytest.raises(GensweepError, match=r"names a file '.*evil.png', outside"):
        local_copy(remote.place, tmp_path / "cache")
    assert not [file for file in tmp_path.rglob("*") if file.suffix == ".png"]
