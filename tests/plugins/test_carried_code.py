"""The code of plug-ins goes to workers, to the head of a cluster and with the sweep; none runs that nobody named."""

import json
import pickle
import random
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest
import untrained
from own_schedule import SCHEDULE, trial_with

from gensweep import plugins
from gensweep.cli.main import run
from gensweep.config import load_trial
from gensweep.errors import ConfigError
from gensweep.plugins import Plugin
from gensweep.remote_folder import below
from gensweep.sweep.carried import Carried
from gensweep.sweep.events import Created, SessionStarted
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.head_jobs import _entrypoint
from gensweep.sweep.storage import adopt, held_storage
from gensweep.tracking.provenance import PLUGINS, SHORT_HASH, changed_plugins, install_kept_plugins, provenance_tags
from gensweep.tracking.runs import import_plugins


def test_code_goes_with_a_value_to_a_process_that_lacks_it(anew, tmp_path, monkeypatch):
    """The receiving process has neither the folder nor the file, and gets the code as it was when it was loaded."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    monkeypatch.setenv("GENSWEEP_CACHE", str(elsewhere / "cache"))
    here.mkdir()
    elsewhere.mkdir()
    with anew(), chdir(here):
        Path("mine.py").write_text(SCHEDULE.format(kind="carried"))
        trial = load_trial(trial_with("carried", plugins=["mine.py"]))
        (mine,), hashed = plugins.loaded(), trial.hash()
        sent = pickle.dumps(Carried(trial))
        Path("mine.py").write_text("raise RuntimeError('changed since')")
    with anew(), chdir(elsewhere):
        assert pickle.loads(sent).open().hash() == hashed
        assert Path(sys.modules["mine"].__file__).parent == elsewhere / "cache" / "plugins" / mine.sha256[:16]


def test_changed_code_is_noticed_by_its_hash(here, monkeypatch):
    def tags(text):
        monkeypatch.setattr(plugins, "_loaded", {"mine": Plugin("mine.py", "mine", {"mine.py": text})})
        return provenance_tags(None, {}, ["gensweep"])

    old, new = tags(b"a = 1"), tags(b"a = 2")
    assert json.loads(old["gensweep.plugins"]).keys() == {"mine"}
    assert changed_plugins(old, old) == changed_plugins({}, new) == []
    (line,) = changed_plugins(old, new)
    assert line.startswith("the code of the plug-in mine has changed since the sweep last ran (")


def test_nothing_runs_that_only_the_folder_of_a_checkpoint_names(here, capsys):
    folder = untrained.checkpoint(here, untrained.config("diffusion"))
    record = json.loads((folder / "checkpoint.json").read_text())
    record["metadata"]["plugins"] = ["evil.py"]
    (folder / "checkpoint.json").write_text(json.dumps(record))
    Path("evil.py").write_text("open('ran', 'w').close()")
    for command in ("sample", "evaluate", "interpret"):
        assert run([command, str(folder)]) == 2
        assert "was trained with the plug-in evil.py; importing that runs its code" in capsys.readouterr().err
    assert not Path("ran").exists()
    assert run(["sample", str(folder), "-n", "1", "--import", "evil.py"]) == 0
    assert Path("ran").exists()


def test_a_head_gets_the_code_into_the_folder_of_the_command(here, monkeypatch):
    sent = [
        Plugin("deep/mine.py", "mine", {"mine.py": b"a = 1"}),
        Plugin("pack.b", "pack.b", {"pack/b.py": b"b = 'x'"}),
    ]
    monkeypatch.setenv("GENSWEEP_FOLDER", str(here / "head"))
    words = "python -c 'import mine, pack.b; print(mine.a, pack.b.b)'"
    done = subprocess.run(["sh", "-c", _entrypoint(words, None, sent)], capture_output=True, text=True)
    assert done.stdout == "1 x\n"
    with pytest.raises(ConfigError, match="plug-ins large are too large to be sent to the head; install them there"):
        _entrypoint(words, None, [Plugin("large", "large", {"large.py": random.Random(0).randbytes(100_000)})])


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_machine_without_a_plug_in_takes_its_code_from_the_storage_of_the_sweep(
    s3, tmp_path, monkeypatch, anew, place
):
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    plugin = Plugin("far/brought_along.py", "brought_along", {"brought_along.py": b"ANSWER = 42\n"})
    here, storage = SweepFolder(tmp_path / "here", "digits"), str(tmp_path / "bucket")
    if place == "bucket":
        storage = s3.url("plugged")
    plugin.write(here.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH])
    with held_storage(here, storage, {"sweep": {}}):
        here.log.append(Created("0123456789abcdef", "digits", "fd", "min", 2))
        here.log.append(SessionStarted(1, "", {PLUGINS: json.dumps({plugin.module: plugin.sha256})}))

    there = SweepFolder(tmp_path / "there", "digits")
    assert adopt(tmp_path / "there", below(storage, "digits")) == ("digits", storage)
    copy = there.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH] / "brought_along.py"
    copy.write_text("ANSWER = 43\n")
    with pytest.raises(ConfigError, match=r"brought_along: it is not on this machine, and its copy .* not what"):
        install_kept_plugins(there)
    copy.write_bytes(b"ANSWER = 42\n")
    with anew():
        assert install_kept_plugins(there) == ["brought_along"]
        assert sys.modules["brought_along"].ANSWER == 42
        assert install_kept_plugins(there) == []
    run_of_it = {"config": {"plugins": '["far/brought_along.py"]'}, "folder": str(there.path)}
    with anew():
        import_plugins(SimpleNamespace(**run_of_it, sweep_id="0123456789abcdef"))
        assert sys.modules["brought_along"].ANSWER == 42
