"""What a new sweep may take the place of, in the folder and in the storage, and what it may not."""

from pathlib import Path
from uuid import uuid4

import pytest
from storage_driver import driving

from gensweep.errors import ConfigError, GensweepError
from gensweep.remote_folder import RemoteFolder
from gensweep.sweep.ownership import SweepElsewhereError
from gensweep.sweep.storage import clear

pytestmark = pytest.mark.waits


def small(settings):
    return settings["sweep"].get("size") == "small"


def made(root, storage, **settings):
    """A sweep whose driver has left it."""
    with driving(root, storage) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
        driver.held.change_settings(driver.folder, {"sweep": {"name": "a", **settings}})
    return driver.folder


def test_what_is_expendable_is_cleared_in_the_folder_and_in_the_storage(tmp_path, s3):
    storage = s3.url(f"cleared-{uuid4().hex[:6]}")
    folder = made(tmp_path, storage, size="small")
    clear(tmp_path, "a", storage, small)
    assert [file.name for file in folder.path.iterdir()] in ([], ["lock"])
    assert RemoteFolder(folder.root_in(storage)).files() == {}
    clear(tmp_path, "a", storage, small)


def test_nothing_of_another_sweep_is_cleared(tmp_path):
    storage = str(tmp_path / "store")
    folder = made(tmp_path / "here", storage)
    for root in ("here", "there"):
        with pytest.raises(ConfigError, match=r"holds another sweep, which would be lost; .* --name"):
            clear(tmp_path / root, "a", storage, small)
    assert folder.state().trials["t0000"].checkpoints
    assert all(Path(uri).is_dir() for uri in folder.state().trials["t0000"].checkpoints)


def test_nothing_that_a_driver_works_on_is_cleared(tmp_path):
    storage = str(tmp_path / "store")
    folder = made(tmp_path / "here", storage, size="small")
    with folder.locked(), pytest.raises(GensweepError, match="is being run by another process"):
        clear(tmp_path / "here", "a", None, small)
    with driving(tmp_path / "here", storage) as driver:
        with pytest.raises(SweepElsewhereError, match="is being run by a driver"):
            clear(tmp_path / "there", "a", storage, small)
        assert Path(driver.session.checkpoints_of("t0000")[0]).is_dir()
