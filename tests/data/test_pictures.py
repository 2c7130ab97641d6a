"""One picture that the user names."""

import os

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from gensweep.data.picture_decoding import (
    PICTURE_SUFFIXES,
    decoded,
    lacks_heic_reader,
    picture_formats,
    read_picture,
)
from gensweep.errors import ConfigError
from gensweep.extras.imported.imported_pictures import read_folder


def test_what_is_no_picture_is_told_in_a_line(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(whole)
    (tmp_path / "torn.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(tmp_path / "nan.tiff")
    for name, words in {
        "missing.png": "no such file",
        ".": "is a folder",
        "torn.png": "cannot be read as a picture",
        "empty.png": "not in a known picture format",
        "nan.tiff": "not finite",
    }.items():
        with pytest.raises(ConfigError, match=words) as error:
            read_picture(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_file_of_another_format_starts_no_program(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "program.png", "EPS")
    (tmp_path / "gs").write_text(f"#!/bin/sh\necho $* >> {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with pytest.raises(ConfigError, match=r"program\.png is not in a known picture format"):
        read_picture(tmp_path / "program.png")
    with pytest.raises(UnidentifiedImageError):
        decoded(tmp_path / "program.png", 8, 3)
    with pytest.raises(ConfigError, match=r"program\.png \(not in a known picture format\)"):
        read_folder(tmp_path, 1, size=8, channels=3)
    assert not (tmp_path / "started").exists()


def test_every_suffix_of_a_picture_has_its_format():
    formats = picture_formats()
    readable = {suffix for suffix in PICTURE_SUFFIXES if not lacks_heic_reader(f"picture{suffix}")}
    assert {Image.registered_extensions()[suffix] for suffix in readable} == set(formats)
