"""Whoever shows a sweep shows the same: trials, best, sample, the display, MLflow and the JSON, after any history."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged import IDENTITY, LoggedSweep

from gensweep.cli.main import run
from gensweep.report.display import ProgressDisplay
from gensweep.sweep.state import SweepState
from gensweep.tracking import store as store_module
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import find_sweep, find_trial
from gensweep.tracking.sync import sync

CHEAP = replace(IDENTITY, samples=2)
TRIALS = ("t0000", "t0001", "t0002")

acts = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(TRIALS)),
    st.tuples(st.just("evaluate"), st.sampled_from(TRIALS), st.sampled_from([IDENTITY, CHEAP]), st.integers(1, 9)),
    st.tuples(st.just("end"), st.sampled_from(TRIALS), st.sampled_from(["finished", "pruned", "failed"])),
    st.tuples(st.just("crash")),
    st.tuples(st.just("lag"), st.integers(1, 4)),
)
numbers = iter(range(1000))


def play(root, name, history):
    """Write a history that a driver could have written: what does not fit a trial's state is left out."""
    sweep = LoggedSweep(root, name, trials=len(TRIALS), keep_best=1)
    replay = Replay(sweep.folder)
    for act, *details in history:
        state = sweep.folder.state()
        trial = state.trials.get(details[0]) if details and act != "lag" else None
        running = trial is not None and trial.status == "running"
        match act:
            case "start" if trial is None or trial.status == "stopped":
                number = len(state.trials)
                if trial is not None or details[0] == TRIALS[number]:
                    sweep.start(details[0], {"x": number}, {"family": {"kind": "gan"}, "training": {"images": 900}})
            case "evaluate" if running:
                images = 100 * (1 + len(trial.evaluations))
                sweep.progress(details[0], images - 50, loss=1.0 / images)
                sweep.evaluate(details[0], images, float(details[2]), identity=details[1])
            case "end" if running and (details[1] == "failed" or trial.objective is not None):
                sweep.end(*details, "ValueError: no" if details[1] == "failed" else None)
            case "crash":  # the driver is gone in this moment, and another one goes on
                sweep.close("interrupted")
                sweep, replay = LoggedSweep(root, name), Replay(sweep.folder)
            case "lag":  # MLflow comes so far and no further
                replay.catch_up(details[0])
    sweep.close("interrupted")
    return sweep.folder


def as_json(capsys, *arguments):
    capsys.readouterr()
    code = run([*arguments, "--format", "json"])
    out = capsys.readouterr().out
    return json.loads(out) if code == 0 else code


def shown(name, capsys):
    """What each view says is the best trial and how all trials stand."""
    folder = Path("sweeps") / name
    ranked = as_json(capsys, "best", "--compare", name, "--no-html")
    best = as_json(capsys, "best", name)
    found = find_sweep(name)
    tags = store_module.client().get_run(found.run_id).data.tags
    return {
        "trials": [(t["trial"], t["status"], t["objective"]) for t in as_json(capsys, "trials", name)],
        "best": best if isinstance(best, int) else (best["trial"], best["objective"]["value"]),
        "ranking": ranked if isinstance(ranked, int) else [entry["trial"] for entry in ranked["entries"]],
        "sample": None if isinstance(best, int) else find_trial(name).trial,
        "starred": [trial.trial for trial in found.trials if trial.best],
        "tagged": tags.get("gensweep.best_trial"),
        "left RUNNING": [
            trial.trial
            for trial in found.trials
            if store_module.client().get_run(trial.run_id).info.status == "RUNNING"
        ],
        "folder": folder.name,
    }


def expected(state, name):
    ranked = [trial.trial for trial in state.ranking]
    best = state.best
    return {
        "trials": [
            (trial.trial, trial.status, None if trial.objective is None else trial.objective.value)
            for trial in state.trials.values()
        ],
        "best": 4 if best is None else (best.trial, best.objective.value),
        "ranking": ranked or 4,
        "sample": None if best is None else best.trial,
        "starred": ranked[:1],
        "tagged": ranked[0] if ranked else None,
        "left RUNNING": [],
        "folder": name,
    }


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(acts, min_size=4, max_size=24))
def test_all_views_of_any_history_agree(store, capsys, history):
    name = f"history{next(numbers)}"
    folder = play(store / "sweeps", name, history)
    assert sync(folder) == 0
    state = folder.state()
    assert shown(name, capsys) == expected(state, name)
    display = ProgressDisplay(io.StringIO(), live=False)
    seen = SweepState()
    for entry in folder.log.read():
        seen.apply(entry.event, entry.time)
        display(entry.event, seen)
    words = display._best_words()
    assert words == "" if state.best is None else f"({state.best.trial})" in words


def test_a_session_that_ends_alone_in_its_batch_ends_the_runs_of_its_trials(store, capsys):
    name = "lagging"
    sync(play(store / "sweeps", name, [("start", "t0000"), ("lag", 2), ("lag", 2)]))
    assert shown(name, capsys)["trials"] == [("t0000", "stopped", None)]


@pytest.mark.parametrize("damage", ["deleted", "rows gone", "position ahead"])
def test_after_mlflow_was_damaged_the_next_command_shows_the_same(store, capsys, damage):
    history = [("start", "t0000"), ("evaluate", "t0000", IDENTITY, 5), ("end", "t0000", "finished")]
    history += [("start", "t0001"), ("evaluate", "t0001", CHEAP, 1), ("crash",), ("start", "t0001")]
    history += [("evaluate", "t0001", IDENTITY, 3), ("end", "t0001", "finished")]
    name = f"damaged-{damage.replace(' ', '-')}"
    folder = play(store / "sweeps", name, history)
    sync(folder)
    before = shown(name, capsys)
    assert before["best"] == ("t0001", 3.0)
    found, client = find_sweep(name), store_module.client()
    match damage:
        case "deleted":
            for run_id in (found.run_id, *(trial.run_id for trial in found.trials)):
                client.delete_run(run_id)
        case "rows gone":
            client.delete_run(found.trials[1].run_id)
            client.set_tag(found.run_id, "gensweep.position", "0")
        case "position ahead":
            client.set_tag(found.run_id, "gensweep.position", "99999999")
            client.delete_run(found.trials[0].run_id)
    assert shown(name, capsys) == before
    shutil.rmtree(folder.path)
