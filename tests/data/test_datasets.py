"""What every data set must do, whoever registered it, and what digits do."""

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from gensweep.config.models import bind, item_model
from gensweep.data import images as shared
from gensweep.data.images import DATASETS, Images
from gensweep.errors import ConfigError

NAMES = ("eel", "dog", "cat")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in NAMES:
        (folder / name).mkdir()
        for index in range(30):
            Image.fromarray(random.integers(0, 256, (20, 28, 3), dtype=np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def parquet(pictures, tmp_path_factory) -> Path:
    """The same pictures in the layout of the Hugging Face hub."""
    folder = tmp_path_factory.mktemp("hub") / "animals"
    (folder / "data").mkdir(parents=True)
    features = {"image": {"_type": "Image"}, "animal": {"_type": "ClassLabel", "names": ["eel", "dog", "cat"]}}
    for split, numbers in (("train", range(20)), ("validation", range(20, 30))):
        rows = [(pictures / name / f"{index}.png", label) for index in numbers for label, name in enumerate(NAMES)]
        table = pa.table(
            {
                "image": [{"bytes": file.read_bytes(), "path": file.name} for file, _ in rows],
                "animal": [label for _, label in rows],
            }
        )
        described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(described, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def write_mnist(folder: Path, n: int = 40) -> None:
    """Random images as the files that torchvision unpacks: a head of big-endian numbers, then bytes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "t10k"):
        pixels = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, n, 28, 28) + pixels.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, n) + labels.tobytes())


@pytest.fixture
def load(pictures, parquet, tiny, tmp_path):
    """Load any registered data set; those that need a folder or a download get a tiny one."""
    given = {
        "image_folder": {"path": str(pictures), "test_fraction": 0.3},
        "hub": {"dataset": str(parquet)},
        "torchvision": {"dataset": "MNIST"},
    }
    write_mnist(tmp_path / "torchvision" / "MNIST" / "raw")
    (tmp_path / "cifar10").mkdir()
    for name, data in tiny.items():
        (tmp_path / "cifar10" / name).write_bytes(data)

    def load(kind: str, split: str = "train", **settings) -> Images:
        model = item_model(DATASETS, kind).model_validate({"kind": kind, **given.get(kind, {}), **settings})
        try:
            return bind(model)(split, tmp_path)
        except ConfigError as error:
            if f"gensweep data fetch {kind}" in str(error):
                pytest.skip(f"{kind} is fetched, and this fixture makes no tiny one")
            raise

    return load


@pytest.fixture(params=DATASETS.kinds())
def kind(request) -> str:
    if request.param == "hub":
        pytest.importorskip("datasets", reason="the extra hub is not installed")
    return request.param


def test_pixels_and_labels_fit_together(load, kind):
    for split in ("train", "test"):
        images = load(kind, split)
        assert images.pixels.dtype == torch.uint8
        assert images.pixels.shape == (len(images), images.channels, 32, 32)
        assert images.channels in (1, 3)
        assert images.labels.shape == (len(images),)
        assert set(images.labels.tolist()) == set(range(images.classes))
        assert images.pixels.is_contiguous()


def test_fingerprint_follows_the_settings(load, kind):
    first, name = load(kind), load(kind).class_names[-1]
    assert load(kind).fingerprint == first.fingerprint
    others = [load(kind, "test"), load(kind, limit=5), load(kind, size=16), load(kind, classes=[name])]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_splits_share_no_image(load, kind):
    train, test = ({image.numpy().tobytes() for image in load(kind, split).pixels} for split in ("train", "test"))
    assert not train & test


def test_a_subset_is_relabelled_in_the_order_of_the_user(load, kind):
    everything = load(kind)
    last, first = everything.class_names[-1], everything.class_names[0]
    subset = load(kind, classes=[last, first])
    assert subset.class_names == (last, first)
    for label, original in ((0, everything.classes - 1), (1, 0)):
        torch.testing.assert_close(
            subset.pixels[subset.labels == label], everything.pixels[everything.labels == original]
        )


def test_limit_takes_the_first_images_of_the_subset(load, kind):
    name = load(kind).class_names[1]
    limited = load(kind, classes=[name], limit=7)
    torch.testing.assert_close(limited.pixels, load(kind, classes=[name]).pixels[:7])


def test_all_class_mistakes_are_told_with_a_suggestion(load, kind):
    good = load(kind).class_names[1]
    with pytest.raises(ConfigError) as caught:
        load(kind, classes=["qqqqqq", good, good + good[-1], good])
    assert len(caught.value.problems) == 3
    assert "'qqqqqq' is not a class of" in caught.value.problems[0]
    assert f"did you mean {good!r}?" in caught.value.problems[1]
    assert f"class {good!r} is named twice" in caught.value.problems[2]


def test_classes_that_a_limit_leaves_out_are_noted():
    pixels, labels = np.zeros((6, 1, 8, 8), np.uint8), np.array([0, 0, 0, 1, 2, 2])
    taken = {"name": "x/train", "size": 8, "flip": False}
    two = shared.select(pixels, labels, ("a", "b", "c", "d"), classes=None, limit=2, **taken)
    assert two.notes == ("limit: the first 2 images of x/train have no b, c; raise it, or name classes",)
    assert not shared.select(pixels, labels, ("a", "b", "c"), classes=("c", "b"), limit=2, **taken).notes
    assert not shared.select(pixels, labels, ("a", "b", "c", "d"), classes=None, limit=None, **taken).notes


@pytest.mark.parametrize(
    "settings", [{"limit": 0}, {"size": 7}, {"size": 30}, {"classes": []}, {"classes": False}, {"classes": [True]}]
)
def test_senseless_settings_are_refused(load, kind, settings):
    with pytest.raises(ValueError, match="validation error"):
        load(kind, **settings)


def test_digits_are_the_1797_of_scikit_learn(load):
    from sklearn.datasets import load_digits

    source = load_digits()
    train, test = (load("digits", split, size=8) for split in ("train", "test"))
    assert (len(train), len(test)) == (1433, 364)
    assert not train.flip
    assert train.class_names == tuple("0123456789")
    # 0..16 stretched to 0..255: the source can be had back.
    mine = np.concatenate([np.rint(part.pixels.numpy() * (16 / 255)) for part in (train, test)])
    assert sorted(map(bytes, mine.astype(np.uint8))) == sorted(map(bytes, source.images.astype(np.uint8)))
    assert (torch.cat([train.labels, test.labels]).bincount().numpy() == np.bincount(source.target)).all()


def test_the_fingerprint_is_that_of_other_machines(load):
    # Computed once; equal on every machine as long as scikit-learn's file and PIL's integer arithmetic are.
    assert load("digits").fingerprint == "cd48a960ae6bfbdf52d9c5fdef1a4a0d59ccec8575169c49488fec6410708c87"


def test_resizing_interpolates_between_values():
    flat = np.full((2, 3, 8, 8), 77, dtype=np.uint8)
    for size in (4, 8, 12, 32):
        assert (shared.resized(flat, size) == 77).all()
    step = np.repeat(np.repeat(np.array([[0, 200]], dtype=np.uint8), 2, 0)[None, None], 1, 0)
    # Centres of the four target pixels lie at -1/4, 1/4, 3/4 and 5/4 between the two source pixels.
    assert shared.resized(step, 4)[0, 0, 0].tolist() == [0, 50, 150, 200]
