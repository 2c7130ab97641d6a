"""A sweep's memory on disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep.folder import SweepFolder


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot name a sweep"):
        SweepFolder(tmp_path, name)


def test_a_sweep_exists_once_its_settings_are_written(tmp_path):
    folder = SweepFolder(tmp_path, "a")
    with folder.locked():
        assert not folder.exists
        folder.create({"sweep": {"name": "a"}})
    assert folder.exists
    assert folder.settings == {"sweep": {"name": "a"}}


@pytest.mark.parametrize("content", ["[]", "{}", '{"sweep": []}', "3"])
def test_settings_that_are_not_those_of_a_sweep_are_refused(tmp_path, content):
    folder = SweepFolder(tmp_path, "a")
    folder.path.mkdir()
    (folder.path / "sweep.json").write_text(content)
    with pytest.raises(GensweepError, match=r"sweep\.json has no settings of a sweep"):
        _ = folder.settings


def test_a_constant_picture_is_kept_once_per_trial(tmp_path):
    folder, checkpoint = SweepFolder(tmp_path, "a"), tmp_path / "a/checkpoints/t0000/000000000010"
    checkpoint.mkdir(parents=True)
    for key in ("samples", "real"):
        (checkpoint / f"{key}.png").write_bytes(b"png")
    for trial in ("t0000", "t0001"):
        for images in (10, 20):
            folder.keep_pictures(trial, images, "t0000/000000000010")
        kept = sorted(file.name for file in (folder.path / "pictures" / trial).iterdir())
        assert kept == ["000000000010-real.png", "000000000010-samples.png", "000000000020-samples.png"]


def test_an_interrupted_picture_copy_is_removed_and_retried(tmp_path, monkeypatch, caplog):
    folder, checkpoint = SweepFolder(tmp_path, "a"), tmp_path / "a/checkpoints/t0000/000000000010"
    checkpoint.mkdir(parents=True)
    (checkpoint / "real.png").write_bytes(b"png")

    def cut_off(source, target):
        Path(target).write_bytes(b"p")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gensweep.sweep.checkpoints.shutil.copyfile", cut_off)
        folder.keep_pictures("t0000", 10, "t0000/000000000010")
    assert "real.png" in caplog.text
    assert list((folder.path / "pictures" / "t0000").iterdir()) == []
    folder.keep_pictures("t0000", 10, "t0000/000000000010")
    assert folder.picture("t0000", 10, "real").read_bytes() == b"png"


@pytest.mark.parametrize("content", [None, b"", b"\0garbage without the end of a line"])
def test_a_log_that_is_gone_or_empty_is_refused_where_a_driver_has_worked(tmp_path, content):
    folder = SweepFolder(tmp_path, "a")
    folder.create({"sweep": {}})
    if content is not None:
        folder.log.file.write_bytes(content)
    folder.check_log()  # a driver that was killed before its first event left nothing to lose
    folder.optuna.touch()
    with pytest.raises(GensweepError, match=r"events\.jsonl is missing or empty.*optuna\.db.*--name"):
        folder.check_log()
