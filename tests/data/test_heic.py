"""Pictures of iPhones, with and without the extra `heic`."""

from pathlib import Path

import pytest
from PIL import Image

from gensweep.data import picture_decoding
from gensweep.data.image_folder import image_folder
from gensweep.data.picture_decoding import picture_formats, read_picture
from gensweep.errors import ConfigError

NEEDED = "pip install 'gensweep[heic]'"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twelve files called like an iPhone's, without content."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(12):
        (folder / f"IMG_{index}.HEIC").touch()
    return folder


@pytest.fixture
def without_reader(monkeypatch):
    monkeypatch.setattr(picture_decoding, "heic_version", lambda: None)


def read(folder: Path, cache: Path, **settings):
    return image_folder("train", cache, path=str(folder), size=8, test_fraction=0, **settings)


def test_heic_is_read_with_the_extra(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.new("RGB", (40, 30), (200, 40, 40)).save(tmp_path / "IMG_1.HEIC")
    images = read(tmp_path, tmp_path / "cache")
    assert (len(images), images.notes) == (1, ())
    assert abs(int(images.pixels[0, 0].float().mean()) - 200) < 8
    assert read_picture(tmp_path / "IMG_1.HEIC").size == (40, 30)
    assert "HEIF" in picture_formats()


@pytest.mark.usefixtures("without_reader")
def test_without_the_extra_one_sentence_says_what_to_install(photos, tmp_path):
    Image.new("RGB", (40, 30)).save(photos / "a.png")
    with pytest.raises(
        ConfigError, match=r"92 % would be skipped.*: 12 \.heic files need: pip install 'gensweep\[heic\]'"
    ):
        read(photos, tmp_path / "cache")
    assert read(photos, tmp_path / "cache", allow_skipped=True).notes == (f"12 .heic files need: {NEEDED}",)
    with pytest.raises(ConfigError, match=r"IMG_0\.HEIC needs: pip install 'gensweep\[heic\]'"):
        read_picture(photos / "IMG_0.HEIC")
