"""The code of plug-ins goes to workers and with the sweep; none runs that nobody named."""

import json
import pickle
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import untrained
from own_schedule import SCHEDULE, trial_with

from gensweep import plugins
from gensweep.cli.main import run
from gensweep.config import load_trial
from gensweep.errors import ConfigError
from gensweep.plugins import Plugin
from gensweep.remote_folder import below
from gensweep.run.messages import WithPlugins
from gensweep.sweep.events import Created, SessionStarted
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.plugin_copies import PLUGINS, SHORT_HASH, install_kept_plugins
from gensweep.sweep.storage import attach, held_storage
from gensweep.sweep.stored_sweeps import import_plugins
from gensweep.sweep.trial_state import TrialState


def test_code_goes_with_a_value_to_a_process_that_lacks_it(anew, tmp_path, monkeypatch):
    """The receiving process has neither the folder nor the file, and gets the code as it was when it was loaded."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    monkeypatch.setenv("GENSWEEP_CACHE", str(elsewhere / "cache"))
    here.mkdir()
    elsewhere.mkdir()
    with anew(), chdir(here):
        Path("mine.py").write_text(SCHEDULE.format(kind="carried"))
        trial = load_trial(trial_with("carried", plugins=["mine.py"]))
        (mine,), hashed = plugins.loaded(), trial.as_dict()
        sent = pickle.dumps(WithPlugins(trial))
        Path("mine.py").write_text("raise RuntimeError('changed since')")
    with anew(), chdir(elsewhere):
        assert pickle.loads(sent).open().as_dict() == hashed
        assert Path(sys.modules["mine"].__file__).parent == elsewhere / "cache" / "plugins" / mine.sha256[:16]


def test_nothing_runs_that_only_the_folder_of_a_checkpoint_names(here, capsys):
    folder = untrained.checkpoint(here, untrained.config("diffusion"))
    record = json.loads((folder / "checkpoint.json").read_text())
    record["metadata"]["plugins"] = ["evil.py"]
    (folder / "checkpoint.json").write_text(json.dumps(record))
    Path("evil.py").write_text("open('ran', 'w').close()")
    for command in ("sample", "evaluate", "interpret"):
        assert run([command, str(folder)]) == 2
        assert "was trained with the plug-in evil.py; importing it runs its code" in capsys.readouterr().err
    assert not Path("ran").exists()
    assert run(["sample", str(folder), "-n", "1", "--import", "evil.py"]) == 0
    assert Path("ran").exists()


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_machine_without_a_plug_in_loads_it_from_the_storage(s3, tmp_path, monkeypatch, anew, place):
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    plugin = Plugin("far/brought_along.py", "brought_along", {"brought_along.py": b"ANSWER = 42\n"})
    here, storage = SweepFolder(tmp_path / "here", "digits"), str(tmp_path / "bucket")
    if place == "bucket":
        storage = s3.url("plugged")
    plugin.write(here.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH])
    with held_storage(here, storage, {"sweep": {}}):
        here.log.append(Created("0123456789abcdef", "digits", "fd", "min", 2))
        here.log.append(SessionStarted(1, {PLUGINS: json.dumps({plugin.module: plugin.sha256})}))

    there = SweepFolder(tmp_path / "there", "digits")
    assert attach(tmp_path / "there", below(storage, "digits")) == ("digits", storage)
    copy = there.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH] / "brought_along.py"
    copy.write_text("ANSWER = 43\n")
    with pytest.raises(ConfigError, match=r"brought_along: it is not installed, and its copy .* has changed"):
        install_kept_plugins(there)
    copy.write_bytes(b"ANSWER = 42\n")
    with anew():
        assert install_kept_plugins(there) == ["brought_along"]
        assert sys.modules["brought_along"].ANSWER == 42
        assert install_kept_plugins(there) == []
    trial = TrialState("t0000", 0, "fd", {}, {}, {"plugins": ["far/brought_along.py"]}, folder=there)
    with anew():
        import_plugins(trial)
        assert sys.modules["brought_along"].ANSWER == 42
