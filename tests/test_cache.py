from pathlib import Path

from gensweep.files import cache_folder


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("GENSWEEP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/ada/.cache/gensweep")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big")
    assert cache_folder() == Path("/big/gensweep")
    monkeypatch.setenv("GENSWEEP_CACHE", "~/mine")
    assert cache_folder() == Path("/home/ada/mine")
