"""Data sets of the Hugging Face hub through its library, offline: splits that are found, and what is refused."""

import io
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gensweep.data.hub import hub_images
from gensweep.errors import ConfigError, GensweepError


def write_pictures(folder, names, count=40):
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (12, 8), 100 * index + number).save(folder / name / f"{number}.png")
    return str(folder)


def png():
    content = io.BytesIO()
    Image.new("L", (12, 8)).save(content, "png")
    return content.getvalue()


@pytest.fixture
def library():
    return pytest.importorskip("datasets", reason="the extra hub is not installed")


def test_pictures_in_files_of_their_own_are_read_and_one_split_is_divided(library, tmp_path):
    path = write_pictures(tmp_path / "animals", ["train/cat", "train/dog"])
    parts = [hub_images(split, tmp_path, dataset=path, channels=1, test_fraction=0.25) for split in ("train", "test")]
    greys = [set(part.pixels[:, 0, 0, 0].tolist()) for part in parts]
    assert greys[0] | greys[1] == {*range(40), *range(100, 140)}
    assert not greys[0] & greys[1]
    assert (parts[0].class_names, parts[0].name, parts[1].name) == (("cat", "dog"), "animals/train", "animals/test")


def test_a_split_that_is_trained_on_is_not_tested_on(library, tmp_path):
    names = ["train/cat", "train/dog", "validation/cat", "validation/dog"]
    path = write_pictures(tmp_path / "animals", names, count=3)
    assert len(hub_images("train", tmp_path, dataset=path, train_split="validation")) == 6
    with pytest.raises(ConfigError, match=r"test_split: .*has no split for testing; name one of its splits"):
        hub_images("test", tmp_path, dataset=path, train_split="validation")
    with pytest.raises(ConfigError, match=r"train_split: .*has no split for training; name one of its splits"):
        hub_images("train", tmp_path, dataset=path, test_split="train")
    with pytest.raises(ConfigError, match="test_split: train is also train_split; name another split, or remove one"):
        hub_images("train", tmp_path, dataset=path, train_split="train", test_split="train")


def test_labels_mean_the_same_in_both_splits(library, tmp_path):
    (tmp_path / "animals").mkdir()
    for name, kinds in (("train", ["cat", "dog", "owl"]), ("test", ["owl", "cat"])):
        pictures = [{"bytes": png(), "path": None}] * len(kinds)
        pq.write_table(pa.table({"image": pictures, "kind": kinds}), tmp_path / "animals" / f"{name}.parquet")
    path = str(tmp_path / "animals")
    train, test = (hub_images(split, tmp_path, dataset=path, label="kind") for split in ("train", "test"))
    assert train.class_names == test.class_names == ("cat", "dog", "owl")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [2, 0])


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"image": [{"bytes": b"torn"}]}, {}, "row 0 of .* is not a picture"),
        ({"number": [1]}, {}, "image: .* has no column of pictures; name one of its columns: number"),
        ({"a": [{"bytes": png()}], "b": [{"bytes": png()}]}, {}, "several columns of pictures.*: a, b"),
        ({"image": [{"bytes": png()}]}, {"label": "kind"}, "label: .* has no column 'kind'"),
        ({"image": [{"url": "x"}]}, {"image": "image"}, "row 0 of .* is not a picture"),
        ({"image": [{"bytes": png()}] * 2, "kind": ["cat", None]}, {"label": "kind"}, "row 1 .* the label None"),
        ({"image": [{"bytes": png()}], "kind": [["cat"]]}, {"label": "kind"}, "'kind' of .* holds lists"),
    ],
)
def test_unreadable_columns_and_rows_are_refused(library, tmp_path, columns, settings, message):
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "set" / "train.parquet")
    with pytest.raises(ConfigError, match=message):
        hub_images("train", tmp_path, dataset=str(tmp_path / "set"), test_fraction=0, **settings)


def test_what_is_not_there_is_told_in_a_line(library, tmp_path, monkeypatch):
    path = write_pictures(tmp_path / "animals", ["train/cat", "train/dog"], count=3)
    with pytest.raises(ConfigError, match=r"dataset: .*'red' not found. Available: \['default'\]"):
        hub_images("train", tmp_path, dataset=path, subset="red")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="doesn't contain any data files"):
        hub_images("train", tmp_path, dataset=str(tmp_path / "empty"))
    monkeypatch.setattr("datasets.load_dataset", _cut_off)
    with pytest.raises(GensweepError, match="nobody/nothing is not on this machine, and the hub is unreachable"):
        hub_images("train", tmp_path, dataset="nobody/nothing")


def _cut_off(*_, **__):
    raise ConnectionError("no route")


def test_without_the_library_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'gensweep\[hub\]'"):
        hub_images("train", tmp_path, dataset="ylecun/mnist")
