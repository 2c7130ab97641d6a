import threading
from pathlib import Path

import pytest

from gensweep.cache import cache_folder, locked
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
