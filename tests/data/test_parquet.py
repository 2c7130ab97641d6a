"""Image data sets in Parquet files: columns and splits that are found, and those that cannot be."""

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gensweep.data.parquet import parquet_images
from gensweep.errors import ConfigError


def png(grey: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (12, 8), grey).save(content, "png")
    return content.getvalue()


def write(file, **columns):
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return str(file)


def test_labels_without_names_are_classes_in_their_order(tmp_path):
    path = write(tmp_path / "train.parquet", picture=[{"bytes": png(i)} for i in (10, 20, 30)], digit=[7, 3, 7])
    images = parquet_images("train", tmp_path, path=path, label="digit", channels=1, size=8)
    assert images.class_names == ("3", "7")
    assert images.labels.tolist() == [1, 0, 1]
    assert images.pixels[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_without_labels_there_is_one_class(tmp_path):
    path = write(tmp_path / "train.parquet", picture=[{"bytes": png(1)}] * 3)
    assert parquet_images("train", tmp_path, path=path).class_names == ("image",)


def test_labels_mean_the_same_in_both_splits(tmp_path):
    for name, kinds in (("train", ["cat", "dog", "owl"]), ("test", ["owl", "cat"]), ("validation", ["yak"])):
        write(tmp_path / "set" / f"{name}.parquet", image=[{"bytes": png(1)}] * len(kinds), kind=kinds)
    train, test = (parquet_images(s, tmp_path, path=str(tmp_path / "set"), label="kind") for s in ("train", "test"))
    assert train.class_names == test.class_names == ("cat", "dog", "owl", "yak")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [2, 0, 3])


def test_a_test_split_without_labels_keeps_nobody_from_training(tmp_path):
    write(tmp_path / "set" / "train.parquet", image=[{"bytes": png(1)}] * 2, kind=["b", "a"])
    write(tmp_path / "set" / "test.parquet", image=[{"bytes": png(1)}])
    path = str(tmp_path / "set")
    assert parquet_images("train", tmp_path, path=path, label="kind").class_names == ("a", "b")
    with pytest.raises(ConfigError, match=r"label: test\.parquet has no column 'kind'"):
        parquet_images("test", tmp_path, path=path, label="kind")


def test_one_file_is_split_by_its_rows(tmp_path):
    path = write(tmp_path / "all.parquet", image=[{"bytes": png(i)} for i in range(200)])
    parts = [parquet_images(split, tmp_path, path=path, channels=1, test_fraction=0.25) for split in ("train", "test")]
    greys = [set(part.pixels[:, 0, 0, 0].tolist()) for part in parts]
    assert sorted(greys[0] | greys[1]) == list(range(200))
    assert not greys[0] & greys[1]
    assert 30 <= len(greys[1]) <= 70


def test_files_of_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    for index in (1, 0):
        write(tmp_path / "set" / f"train-{index:05d}-of-00002.parquet", image=[{"bytes": png(index)}])
    write(tmp_path / "set" / "test-00000-of-00001.parquet", image=[{"bytes": png(9)}])
    path = str(tmp_path / "set")
    assert parquet_images("train", tmp_path, path=path).pixels[:, 0, 0, 0].tolist() == [0, 1]
    assert parquet_images("test", tmp_path, path=path).name == "set/test"


@pytest.mark.parametrize("folder", ["set", "train", "test", "val"])
def test_a_name_that_says_the_split_counts_more_than_the_folder(tmp_path, folder):
    for grey, name in enumerate(("train.parquet", "val-0.parquet", "deep/train/0.parquet", "test/more/0.parquet")):
        write(tmp_path / folder / name, image=[{"bytes": png(grey)}])
    write(tmp_path / folder / "test" / "train-1.parquet", image=[{"bytes": png(9)}])
    path = str(tmp_path / folder)
    greys = [parquet_images(s, tmp_path, path=path, channels=1).pixels[:, 0, 0, 0].tolist() for s in ("train", "test")]
    assert list(map(sorted, greys)) == [[0, 2, 9], [1, 3]]


def test_the_name_of_the_folder_itself_says_no_split(tmp_path):
    path = write(tmp_path / "train" / "0000.parquet", image=[{"bytes": png(i)} for i in range(50)])
    for place in (path, str(tmp_path / "train")):
        parts = [parquet_images(split, tmp_path, path=place, test_fraction=0.3) for split in ("train", "test")]
        assert sum(map(len, parts)) == 50


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"image": [{"bytes": b"torn"}]}, {}, "row 0 of train.parquet is no picture"),
        ({"number": [1]}, {}, "image: train.parquet has no column of pictures; name one of its columns: number"),
        ({"a": [{"bytes": png(1)}], "b": [{"bytes": png(1)}]}, {}, "several columns of pictures.*: a, b"),
        ({"image": [{"bytes": png(1)}]}, {"label": "kind"}, "label: train.parquet has no column 'kind'"),
        ({"image": [{"bytes": png(1)}]}, {"max_pixels": 90}, "row 0 of train.parquet is no picture"),
        ({"image": [{"url": "x"}]}, {"image": "image"}, "row 0 of train.parquet is no picture"),
        (
            {"image": [{"bytes": png(1)}] * 2, "kind": ["cat", None]},
            {"label": "kind"},
            "row 1 of train.parquet has the label None, which names no class",
        ),
        (
            {"image": [{"bytes": png(1)}], "kind": [["cat"]]},
            {"label": "kind"},
            "label: the column 'kind' of train.parquet holds lists, or values of several types",
        ),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, columns, settings, message):
    path = write(tmp_path / "train.parquet", **columns)
    with pytest.raises(ConfigError, match=message):
        parquet_images("train", tmp_path, path=path, **settings)


def test_places_that_hold_none_are_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "train.parquet").write_bytes(b"PAR1 torn")
    for name, message in (
        ("empty", "holds no .parquet file"),
        ("nothing", "is neither a file nor a folder"),
        ("train.parquet", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            parquet_images("train", tmp_path, path=str(tmp_path / name))
    write(tmp_path / "train.parquet", image=[{"bytes": png(1)}])
    with pytest.raises(ConfigError, match="no file of the split test"):
        parquet_images("test", tmp_path, path=str(tmp_path / "train.parquet"))


def damaged(file):
    """Damage the pages of a Parquet file, and leave its schema."""
    content = bytearray(file.read_bytes())
    content[4:100] = bytes(96)
    file.write_bytes(content)


@pytest.mark.parametrize("label", [None, "kind"])
@pytest.mark.parametrize(
    ("mar", "message"),
    [
        (lambda file: file.write_bytes(b"version https://git-lfs"), "parquet: .*/train-1.parquet cannot be read .*"),
        (damaged, "parquet: .*/train-1.parquet cannot be read .*; fetch it again"),
        (lambda file: write(file, kind=["cat"]), ".*/train-1.parquet has no column 'image', which .*"),
    ],
)
def test_a_later_file_that_cannot_be_read_is_told_in_a_line(tmp_path, label, mar, message):
    for index in (0, 1):
        file = tmp_path / "set" / f"train-{index}.parquet"
        write(file, image=[{"bytes": png(1)}], kind=["cat"])
    mar(file)
    with pytest.raises(ConfigError) as refused:
        parquet_images("train", tmp_path, path=str(tmp_path / "set"), label=label)
    assert re.fullmatch(message, str(refused.value))


def test_a_later_file_without_the_labels_is_told(tmp_path):
    write(tmp_path / "set" / "train-0.parquet", image=[{"bytes": png(1)}], kind=["cat"])
    write(tmp_path / "set" / "train-1.parquet", image=[{"bytes": png(1)}], species=["cat"])
    with pytest.raises(ConfigError, match=r"train-1\.parquet has no column 'kind', .*\(its columns: image, species\)"):
        parquet_images("train", tmp_path, path=str(tmp_path / "set"), label="kind")


def described(file, features, **columns):
    """A file with what the library `datasets` writes of its columns."""
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
    return str(file)


def test_lists_as_the_library_described_them_before_its_version_4_are_passed_over(tmp_path):
    features = {
        "kind": {"_type": "ClassLabel", "names": ["a", "b"]},
        "caption": [{"dtype": "string", "_type": "Value"}],
    }
    columns = {"image": [{"bytes": png(1)}], "kind": [1], "caption": [["words"]]}
    images = parquet_images("train", tmp_path, path=described(tmp_path / "train.parquet", features, **columns))
    assert (images.class_names, images.labels.tolist()) == (("a", "b"), [1])


@pytest.mark.parametrize("said", [b"{", b"[]", b'{"info": []}', b'{"info": {"features": 3}}', b"\xff"])
def test_a_damaged_description_of_columns_is_told(tmp_path, said):
    table = pa.table({"image": [{"bytes": png(1)}]}).replace_schema_metadata({b"huggingface": said})
    pq.write_table(table, tmp_path / "all.parquet")
    with pytest.raises(ConfigError, match=r"all\.parquet has a damaged description of its columns"):
        parquet_images("train", tmp_path, path=str(tmp_path / "all.parquet"))


def test_two_columns_of_one_name_are_told(tmp_path):
    table = pa.table([[{"bytes": png(1)}], [1], [2]], names=["image", "kind", "kind"])
    pq.write_table(table, tmp_path / "all.parquet")
    with pytest.raises(ConfigError, match=r"two columns of one name \(its columns: image, kind, kind\)"):
        parquet_images("train", tmp_path, path=str(tmp_path / "all.parquet"), label="kind")


def test_a_label_that_names_no_class_is_told(tmp_path):
    features = {"kind": {"_type": "ClassLabel", "names": ["a", "b"]}}
    path = described(tmp_path / "train.parquet", features, image=[{"bytes": png(1)}], kind=np.array([-1]))
    with pytest.raises(ConfigError, match=r"row 0 of train\.parquet has the label -1, which names no class"):
        parquet_images("train", tmp_path, path=path)
