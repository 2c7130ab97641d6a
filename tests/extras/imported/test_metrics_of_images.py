"""`evaluate-images` with metrics that ask for more than features, against the digits that come with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.cli.main import run
from gensweep.data.images import DATASETS
from gensweep.files import cache_folder
from gensweep.metrics.extractors import EXTRACTORS
from gensweep.metrics.real import Real

pytestmark = pytest.mark.trains

SETTINGS = {"data.kind": "digits", "data.size": 8, "data.limit": 400, "evaluation.extractor.resolution": 32}


def images(split="train"):
    return DATASETS["digits"](split, cache_folder(), size=8, limit=400)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """200 real digits, each in the folder of its class."""
    folder, real = tmp_path_factory.mktemp("metrics") / "digits", images()
    for index in range(200):
        place = folder / real.class_names[real.labels[index]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(real.pixels[index, 0].numpy()).save(place / f"{index:03d}.png")
    return folder


def evaluate(capsys, folder: Path, metrics: str, *more: str, code: int = 0):
    capsys.readouterr()
    settings = [f"--set={key}={value}" for key, value in (SETTINGS | {"evaluation.metrics": metrics}).items()]
    arguments = ["evaluate-images", str(folder), *settings, "--samples", "200", *more, "--format", "json"]
    assert run(arguments) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return (json.loads(out)[0] if code == 0 else None), err


def test_classes_of_pictures_are_those_of_their_folders(digits, capsys):
    row, err = evaluate(capsys, digits, "[fd,agreement]")
    # These are training images, so the probe knows them.
    assert 0.6 < row["signals"]["agreement/real"] < row["scores"]["agreement"] <= 1
    assert "agreement 0." in err
    assert "(real 0." in err


def test_copies_of_training_images_are_drawn_beside_their_originals(digits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row, err = evaluate(capsys, digits, "[fd,authpct]", "--name", "copies")
    (picture,) = Path("sweeps/copies/pictures/t0000").glob("*-suspects.png")
    assert row["scores"]["authpct"] < 5
    assert row["signals"]["authpct/memorised"] > 0.95
    assert "authpct/memorised" not in err
    assert "(memorised " in err
    with Image.open(picture) as shown:
        pixels = torch.frombuffer(bytearray(shown.convert("L").tobytes()), dtype=torch.uint8).view(shown.height, -1)
    # Eight pictures a row, of 68 pixels each: every second one is the original of the one before.
    tiles = pixels.unfold(0, 68, 68).unfold(1, 68, 68)
    assert torch.equal(tiles[:, ::2], tiles[:, 1::2])
    assert tiles.float().std() > 10


def test_statistics_in_a_file_stand_in_for_the_images(digits, capsys, tmp_path):
    file = tmp_path / "digits.npz"
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", cache_folder(), resolution=32)
    moments = Real(DATASETS["digits"]("train", cache_folder(), size=8), extractor, cache_folder()).moments
    np.savez(file, mu=moments.mean.numpy(), sigma=moments.covariance.numpy())
    whole = ["--set", "data.limit=null"]
    expected, _ = evaluate(capsys, digits, "[fd]", *whole)
    found, _ = evaluate(capsys, digits, "[fd,authpct]", "--against", str(file), *whole)
    assert found["value"] == pytest.approx(expected["value"], rel=1e-6)
    _, err = evaluate(capsys, digits, "[fd,kid]", "--against", str(file), code=2)
    assert "evaluation.metrics: 'kid' compares with real images" in err
    assert "only their mean and covariance, enough for fd and fid; remove it" in err
    _, err = evaluate(capsys, digits, "[fd]", "--against", str(tmp_path / "none.npz"), code=2)
    assert "none.npz is not a file" in err
