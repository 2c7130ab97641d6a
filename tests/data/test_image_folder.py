import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.data.image_folder import image_folder
from gensweep.data.picture_decoding import decoded
from gensweep.errors import ConfigError, ParameterError

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture
def load(folder, tmp_path):
    def load(split: str = "train", path: Path = folder, **settings):
        return image_folder(split, tmp_path / "cache", path=str(path), **{"test_fraction": 0.0, **settings})

    return load


def write(path: Path, *, colour: int = 0, n: int = 1, size: tuple[int, int] = (40, 40)) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for index in range(n):
        Image.new("RGB", size, (colour, index, 0)).save(path / f"{index}.png")


def test_sub_folders_are_classes_in_the_order_of_their_names(folder, load):
    for colour, name in ((30, "dog"), (20, "cat"), (10, "ant/deep/er")):
        write(folder / name, colour=colour, n=3)
    images = load(size=8)
    assert images.class_names == ("ant", "cat", "dog")
    assert images.name == "photos/train"
    for label, colour in enumerate((10, 20, 30)):
        assert (images.pixels[images.labels == label][:, 0] == colour).all()
        assert (images.labels == label).sum() == 3


def test_unreadable_files_are_counted_and_named_not_fatal(folder, load):
    write(folder, n=6)
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    whole = (folder / "0.png").read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # decoded, then from the cache
        images = load(allow_skipped=True)
        assert len(images) == 6
        (note,) = images.notes
        assert note.startswith("3 files cannot be read and are left out: ")
        assert all(name in note for name in ("text.jpg", "empty.png", "torn.png"))


def test_if_nothing_can_be_read_it_is_an_error(folder, load):
    with pytest.raises(ConfigError, match="it has no picture for training"):
        load()
    (folder / "bad.png").touch()
    with pytest.raises(ConfigError, match="no picture file of 1 can be read"):
        load()
    with pytest.raises(ConfigError, match=r"path: .* is not a folder; name the folder"):
        load(path="~nosuchuser/photos")


def test_splits_are_decided_by_the_name_alone(folder, load):
    write(folder / "cat", n=200)
    train, test = load(test_fraction=0.25, size=8), load("test", test_fraction=0.25, size=8)
    assert len(train) + len(test) == 200
    assert 30 < len(test) < 70
    before = {int(green) for green in test.pixels[:, 1, 0, 0]}
    Image.new("RGB", (40, 40), (0, 250, 0)).save(folder / "cat" / "new.png")
    after = {int(green) for green in load("test", test_fraction=0.25, size=8).pixels[:, 1, 0, 0]}
    assert after - {250} == before


def test_given_splits_are_respected_and_share_their_classes(folder, load):
    for name, colour in (("train/ant", 10), ("train/bee", 20), ("test/bee", 30)):
        write(folder / name, colour=colour, n=3)
    train, test = load(size=8), load("test", size=8)
    assert train.class_names == test.class_names == ("ant", "bee")
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [1, 1, 1]
    assert (test.pixels[:, 0] == 30).all()


@pytest.mark.parametrize("name", ["validation", "valid", "val"])
def test_a_split_for_validation_is_tested_on(folder, load, name):
    write(folder / "train" / "ant", colour=10, n=3)
    write(folder / name / "ant", colour=30, n=2)
    train, test = load(size=8), load("test", size=8)
    assert train.class_names == test.class_names == ("ant",)
    assert (len(train), len(test), test.notes) == (3, 2, ())
    assert (test.pixels[:, 0] == 30).all()


def test_a_limit_mixes_classes_and_skips_unreadable_files(folder, load):
    for name in ("ant", "bee"):
        write(folder / name, n=100)
        for index in range(60, 100):
            (folder / name / f"{index}.png").write_text("broken")
    images = load(limit=40, size=8, allow_skipped=True)
    assert len(images) == 40
    assert images.labels.bincount().min() > 10
    torch.testing.assert_close(images.pixels, load(size=8, allow_skipped=True).pixels[:40])


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(folder, load, tmp_path):
    write(folder / "cat", n=9)
    write(tmp_path / "elsewhere" / "cat", n=9)
    assert load().fingerprint == load(path=tmp_path / "elsewhere").fingerprint


def test_kept_pictures_follow_the_files(folder, load):
    write(folder, n=5)
    first = load()
    assert load().fingerprint == first.fingerprint
    Image.new("RGB", (50, 50), (99, 99, 99)).save(folder / "0.png")
    assert load().fingerprint != first.fingerprint
    (folder / "1.png").unlink()
    assert len(load()) == 4


def test_a_torn_cache_entry_is_made_anew(folder, load, tmp_path):
    write(folder, n=5)
    first = load()
    (entry,) = (tmp_path / "cache" / "image_folder").glob("*.npz")
    for content in (b"", b"junk", entry.read_bytes()[:2000]):
        entry.write_bytes(content)
        assert load().fingerprint == first.fingerprint


def test_links_are_not_followed(folder, load, tmp_path):
    write(folder / "cat", n=3)
    write(tmp_path / "far", n=3)
    (folder / "dog").symlink_to(tmp_path / "far")
    (folder / "cat" / "far.png").symlink_to(tmp_path / "far" / "0.png")
    with pytest.raises(ConfigError, match=r"40 % would be skipped.*allow_skipped: true"):
        load()
    images = load(allow_skipped=True)
    assert (len(images), images.class_names) == (3, ("cat",))
    assert images.notes == ("2 links are not followed: dog; cat/far.png",)


def test_a_split_that_lies_elsewhere_is_refused(folder, load, tmp_path):
    write(folder / "test", n=3)
    write(tmp_path / "far", n=3)
    (folder / "train").symlink_to(tmp_path / "far")
    with pytest.raises(ParameterError, match="train links to a place outside the folder"):
        load()


@pytest.mark.parametrize(("torn", "refused"), [(1, False), (2, True)])
def test_more_than_one_in_a_hundred_is_skipped_only_with_consent(folder, load, torn, refused):
    write(folder, n=100 - torn)
    for index in range(torn):
        (folder / f"torn{index}.png").touch()
    if refused:
        with pytest.raises(ConfigError, match=r"2 % would be skipped.*torn"):
            load()
    assert len(load(allow_skipped=refused)) == 100 - torn


def test_a_picture_of_too_many_pixels_is_skipped_by_its_header(folder, load):
    write(folder / "cat", n=2)
    # A header that promises 81 million pixels, and next to no data: decoding would find it torn.
    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(data)) + kind + data for kind, data in ((b"IHDR", header), (b"IDAT", b"x"))]
    whole = [chunk + struct.pack(">I", zlib.crc32(chunk[4:])) for chunk in chunks]
    (folder / "cat" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(whole))
    images = load(allow_skipped=True)
    assert len(images) == 2
    (note,) = images.notes
    assert "bomb.png (ValueError: 9000 x 9000 pixels" in note


def picture(tmp_path: Path, image: Image.Image, suffix: str = ".png", **options) -> Path:
    path = tmp_path / f"picture{suffix}"
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("kind", "white", "suffix"),
    [(np.uint16, 65535, ".png"), (np.int32, 255, ".tiff"), (np.int32, 65535, ".tiff")]
    + [(np.float32, white, ".tiff") for white in (1.0, 255.0, 65535.0)],
)
def test_deep_grey_is_scaled_to_8_bits(tmp_path, kind, white, suffix):
    path = picture(tmp_path, Image.fromarray((GREY / 252 * white).astype(kind)), suffix)
    assert np.abs(decoded(path, 64, 1)[0].astype(float) - GREY / 252 * 255).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_lie_on_white(tmp_path, mode):
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[:8, :, 3] = 255  # opaque black above, nothing below
    image = Image.fromarray(pixels).convert(mode) if mode != "P" else Image.fromarray(pixels).quantize(4)
    result = decoded(picture(tmp_path, image), 16, 3)
    assert (result[:, :8] == 0).all()
    assert (result[:, 8:] == 255).all()
    if mode == "RGBA":
        half = decoded(picture(tmp_path, Image.new("RGBA", (8, 8), (100, 0, 200, 128))), 8, 3)
        assert np.abs(half[:, 0, 0].astype(float) - [177.2, 127, 227.4]).max() <= 1


def test_a_photograph_is_turned_as_the_camera_meant_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    path = picture(tmp_path, Image.fromarray(np.stack([GREY] * 3, -1)), ".jpg", exif=exif, quality=95)
    upright = decoded(path, 64, 1)[0].astype(float)
    assert np.abs(upright - np.rot90(GREY, -1).astype(float)).max() < 12


MODES = {"1": ".png", "L": ".jpg", "CMYK": ".jpg", "YCbCr": ".jpg", "P": ".gif", "LAB": ".tiff", "RGB": ".webp"}


@pytest.mark.parametrize(("mode", "suffix"), MODES.items())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_common_mode_can_be_read(tmp_path, mode, suffix, channels):
    white = Image.new("RGB", (30, 20), (255, 255, 255))
    image = Image.new("LAB", (30, 20), (255, 128, 128)) if mode == "LAB" else white.convert(mode)
    result = decoded(picture(tmp_path, image, suffix), 16, channels)
    assert result.shape == (channels, 16, 16)
    assert result.min() > 250


def test_the_square_in_the_middle_is_kept(tmp_path):
    pixels = np.full((20, 60, 3), 255, dtype=np.uint8)
    pixels[:, 20:40] = 0
    assert (decoded(picture(tmp_path, Image.fromarray(pixels)), 20, 1) == 0).all()


@pytest.mark.parametrize("size", [8, 64, 200])
def test_a_large_jpeg_shrinks_to_what_a_careful_resize_gives(tmp_path, size):
    wave = np.sin(np.linspace(0, 9, 800))[:, None] * np.cos(np.linspace(0, 7, 800))[None] * 100 + 128
    image = Image.fromarray(wave.astype(np.uint8))
    path = picture(tmp_path, image, ".jpg", quality=98)
    careful = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(decoded(path, size, 1)[0] - careful).max() < 6
