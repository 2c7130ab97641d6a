import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gensweep.data.cache import cache_folder, locked, replacing
from gensweep.errors import GensweepError


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("GENSWEEP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/ada/.cache/gensweep")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big")
    assert cache_folder() == Path("/big/gensweep")
    monkeypatch.setenv("GENSWEEP_CACHE", "~/mine")
    assert cache_folder() == Path("/home/ada/mine")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file"
    with replacing(path) as aside:
        aside.write_text("old")
    with suppress(ZeroDivisionError), replacing(path) as aside:
        aside.write_text("new")
        1 / 0  # noqa: B018 -- something goes wrong before the end
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_only_one_writer_at_a_time(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "entry"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GensweepError, match="set GENSWEEP_CACHE"), locked(tmp_path / "file" / "entry"):
        pass
