"""A file that would run code, in every place where a command reads one: nothing of it runs, and one line tells."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.cli.main import run

pytestmark = pytest.mark.mlflow

SPACE = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a sweep `tiny` of one trained trial; see `place`."""
    import untrained
    from logged import LoggedSweep
    from made_up import project

    from gensweep.config import load_sweep
    from gensweep.sweep.checkpoints import checkpoint_name
    from gensweep.sweep.events import Evaluated

    with project(tmp_path_factory.mktemp("store")) as folder:
        trial = untrained.config("diffusion")
        sweep = LoggedSweep(folder / "sweeps", "tiny", settings=load_sweep(SPACE, overrides=["name=tiny"]).as_dict())
        evaluation, trained = untrained.train(trial, folder / "trained").checkpoints[-1]
        name = checkpoint_name("t0000", evaluation.images)
        made = sweep.folder.path / "checkpoints" / name
        shutil.copytree(trained, made)
        sweep.start("t0000", {}, trial.as_dict())
        sweep.add(Evaluated("t0000", evaluation, name))
        sweep.end("t0000")
        sweep.close()
        (folder / "pictures").mkdir()
        Image.new("L", (8, 8)).save(folder / "pictures" / "a.png")
        shutil.copytree(made, folder / "checkpoint")
        yield folder


@pytest.fixture
def place(home, tmp_path, monkeypatch):
    """A copy of all that for one test, which is the current folder."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    # By its whole path: MLflow keeps connections in this process, by the name of the database.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def marker(tmp_path):
    """The file that nobody may touch; made for real once, to see that the pickle works."""
    marker = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Hostile(marker))).close()
    assert marker.exists()
    marker.unlink()
    return marker


def as_pickle(marker):
    return pickle.dumps(Hostile(marker))


def as_line(marker):
    """A last line without an end counts as torn."""
    return as_pickle(marker) + b"\n"


def as_torch_file(marker):
    file = io.BytesIO()
    torch.save({"weights": Hostile(marker)}, file)
    return file.getvalue()


def as_arrays(marker):
    file = io.BytesIO()
    np.savez(file, mu=np.array([Hostile(marker)], dtype=object), sigma=np.eye(1), pixels=np.eye(1), key=np.array("x"))
    return file.getvalue()


def as_yaml(marker):
    return f"!!python/object/apply:builtins.open ['{marker}', 'w']\n".encode()


FINETUNE = ["finetune", "checkpoint", "--data", "pictures", "--name", "tuned"]
STATE = "checkpoint/state.safetensors"
FACTS = "checkpoint/checkpoint.json"
EVENTS = "sweeps/tiny/events.jsonl"
#: The checkpoint of the sweep.
OF_RUNS = "sweeps/tiny/checkpoints/"
#: file, what it becomes, the command that reads it, its exit code, words of its line
CASES = [
    (STATE, as_pickle, ["sample", "checkpoint"], 1, "state.safetensors"),
    (STATE, as_torch_file, ["sample", "checkpoint"], 1, "state.safetensors"),
    (STATE, as_torch_file, ["interpret", "checkpoint"], 1, "state.safetensors"),
    (STATE, as_torch_file, FINETUNE, 1, "state.safetensors"),
    (FACTS, as_pickle, ["sample", "checkpoint"], 1, "checkpoint.json is damaged"),
    (FACTS, as_pickle, ["interpret", "checkpoint"], 1, "checkpoint.json is damaged"),
    (FACTS, as_pickle, FINETUNE, 1, "checkpoint.json is damaged"),
    ("a.safetensors", as_pickle, ["sample", "checkpoint", "--adapter", "a.safetensors"], 1, "a.safetensors"),
    ("a.safetensors", as_torch_file, ["sample", "checkpoint", "--adapter", "a.safetensors"], 1, "a.safetensors"),
    ("s.yaml", as_yaml, ["tune", "s.yaml"], 2, "s.yaml:1"),
    ("s.yaml", as_pickle, ["tune", "s.yaml"], 2, "s.yaml"),
    ("sweeps/tiny/sweep.json", as_pickle, ["tune", "--resume", "tiny"], 1, "sweep.json cannot be read"),
    ("sweeps/tiny/sweep.json", as_yaml, ["tune", "--resume", "tiny"], 1, "sweep.json cannot be read"),
    (EVENTS, as_line, ["tune", "--resume", "tiny"], 1, "events.jsonl is damaged"),
    (OF_RUNS + "state.safetensors", as_torch_file, ["evaluate", "tiny", "--seed", "1"], 1, "state.safetensors"),
    (OF_RUNS + "checkpoint.json", as_pickle, ["evaluate", "tiny", "--seed", "1"], 1, "checkpoint.json is damaged"),
    ("pictures/a.png", as_pickle, ["evaluate-images", "pictures", "--like", "tiny"], 2, "has nothing to score"),
    ("x.npz", as_arrays, ["evaluate-images", "pictures", "--against", "x.npz", "--set", "data.size=8"], 2, "x.npz"),
    ("x.npz", as_pickle, ["evaluate-images", "pictures", "--against", "x.npz", "--set", "data.size=8"], 2, "x.npz"),
    ("mask.png", as_pickle, ["edit", "checkpoint", "mask.png"], 2, "mask.png"),
]


@pytest.fixture
def put(place):
    """Puts a file in its place."""

    def put(file, content):
        folder, _, name = file.rpartition("/")
        (found,) = (place / folder).rglob(name) if file.startswith(OF_RUNS) else [place / file]
        found.write_bytes(content)

    return put


@pytest.mark.parametrize(
    ("file", "make", "words", "code", "line"), CASES, ids=lambda value: getattr(value, "__name__", str(value)[:60])
)
def test_nothing_of_it_runs_and_a_line_tells(put, marker, capsys, file, make, words, code, line):
    put(file, make(marker))
    ended = run(words)
    printed = capsys.readouterr()
    assert not marker.exists()
    assert ended == code, printed.err
    errors = [each for each in printed.err.splitlines() if each.startswith(("Error", "Usage"))]
    assert len(errors) == 1, printed.err
    assert line in printed.err
    assert "Traceback" not in printed.err


def test_a_study_that_is_a_pickle_is_written_anew(place, marker):
    from logged import LoggedSweep
    from trivial_sweeps import numbered

    from gensweep.tracking.study_file import StudyFile

    sweep = LoggedSweep(place / "sweeps", "other")
    sweep.folder.optuna.write_bytes(as_pickle(marker))
    assert StudyFile(sweep.folder, numbered).catch_up()
    assert sweep.folder.optuna.read_bytes().startswith(b"SQLite format 3")
    assert not marker.exists()


def test_entries_of_the_cache_that_hold_pickles_are_made_anew(place, marker, capsys):
    words = ["data", "show", "pictures", "--size", "8"]
    run(words)
    shown = capsys.readouterr().out
    entries = [*(place.parent / "cache").rglob("*.npz")]
    assert entries
    for make in (as_pickle, as_arrays):
        for entry in entries:
            entry.write_bytes(make(marker))
        run(words)
        assert capsys.readouterr().out == shown
    assert not marker.exists()
