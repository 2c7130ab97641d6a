"""Whole sweeps of trivial jobs on one local Ray."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState
from trivial_sweeps import Memory, numbered, plan, undisturbed_sum

from gensweep.config.objectives import Constraint
from gensweep.config.search_methods import AshaSettings
from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError, GensweepError
from gensweep.run.driver import run_plan
from gensweep.search.space import frozen_trial, outcome
from gensweep.sweep.events import Created, Ended, Evaluated, Paused, Progressed, SessionEnded, SessionStarted, Started
from gensweep.sweep.folder import SweepFolder

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]


#: Of both sessions of the sweep: trials of more parameters are not trained.
LIMIT = {
    "constraints": (Constraint(metric="params", max=4),),
    "known": lambda config: {"params": config.get("params", 1.0)},
}


def told(result):
    """The trials as Optuna has them."""
    return [frozen_trial(each, number, numbered, outcome(each)) for number, each in enumerate(result.state.searched)]


def trials_of(result):
    return list(result.state.trials.values())


@pytest.fixture(scope="module")
def finished(ray_cluster, tmp_path_factory):
    """A finished sweep, what was seen of it, and its root: two plain trials and three with scores of their own."""
    rising = {str(100 * step): 9.0 + step for step in range(3, 9)}
    plain, long = {}, {"steps": 8, "seed": 4}
    stale = {"steps": 8, "scores": {"100": 9.0, "200": 3.0, **rising}}
    two_kinds = {"scores": {"100": 1.0, "200": 2.0, "300": 3.0, "400": 9.0}, "samples": {"400": 5000}}
    configs = [plain, plain, long, stale, two_kinds]
    memory, root = Memory(), tmp_path_factory.mktemp("finished")
    sweep = plan(
        trials=len(configs),
        configs=configs,
        sample=numbered,
        budget=800,
        search={"patience": 3},
        **LIMIT,
    )
    return run_plan(sweep, [memory], root=root), memory, root


def scored(value):
    """A configuration whose trial comes closer to this value, from above."""
    return {"scores": {str(images): value + 1 / images for images in (100, 200, 300, 400)}}


@pytest.fixture(scope="module")
def extended(finished, tmp_path_factory):
    """That sweep with five more trials, of which ASHA stops some, and then with its best trained again; the same of it.

    All that are trained have better scores than those before, but one.
    """
    root = shutil.copytree(finished[2], tmp_path_factory.mktemp("extended"), dirs_exist_ok=True)
    more = [scored(-2.0), scored(5.0), {**scored(-3.0), "raise_at": 3}, scored(-4.0), {"params": 9.0}]
    search = {"scheduler": AshaSettings(reduction=2), "repeats": Repeats(top=1, seeds=2)}
    sweep = plan(trials=5, configs=[{}] * 5 + more, sample=numbered, budget=800, grace=100, search=search, **LIMIT)
    memory = Memory()
    return run_plan(sweep, [memory], root=root, extend=5), memory, root, sweep


def test_a_sweep_finishes_and_every_event_is_seen_once(finished):
    result, memory, root = finished
    assert (result.state.status, result.exit_code) == ("finished", 0)
    assert [(t.trial, t.status) for t in trials_of(result)] == [(f"t000{i}", "finished") for i in range(5)]
    assert [type(event) for event in memory.events[:2]] == [Created, SessionStarted]
    assert memory.events[-1] == SessionEnded("finished")
    assert memory.events == [entry.event for entry in SweepFolder(root, "a").log.read()]
    for trial, steps in zip(trials_of(result), (4, 4, 8), strict=False):
        images = [100 * step for step in range(1, steps + 1)]
        assert len([s for s in memory.of(Started) if s.trial == trial.trial]) == 1
        assert [p.images for p in memory.of(Progressed) if p.trial == trial.trial] == [i - 50 for i in images]
        assert [e.evaluation.images for e in memory.of(Evaluated) if e.trial == trial.trial] == images
        assert [e.status for e in memory.of(Ended) if e.trial == trial.trial] == ["finished"]
        assert trial.score.value == pytest.approx(abs(trial.params["x"]) + 1 / images[-1])
        best = root / "a" / "checkpoints" / trial.best.checkpoint
        assert json.loads((best / "state.json").read_text())["step"] == steps
        assert [p.name for p in best.parent.iterdir()] == [f"{images[-1]:012d}"]  # the others are cleaned up


def test_a_trial_without_progress_finishes_early_with_its_best(finished):
    result, _, _ = finished
    *_, long, stale, _ = trials_of(result)
    assert [(t.status, t.images) for t in (long, stale)] == [("finished", 800), ("finished", 500)]
    assert stale.best.evaluation.images == 200
    assert told(result)[3].state == TrialState.COMPLETE
    assert told(result)[3].value == 3.0


def test_cheaper_rung_scores_never_replace_the_final_score(finished):
    result, _, _ = finished
    trial = trials_of(result)[4]
    score = trial.score
    assert (score.value, trial.best.evaluation.images, score.identity.samples) == (9.0, 400, 5000)
    assert told(result)[4].value == 9.0


def test_one_process_trains_all_trials_and_each_as_if_alone(finished):
    result, _, _ = finished
    ends = [trial.evaluations[400].evaluation.signals for trial in trials_of(result)]
    assert len({end["pid"] for end in ends}) == 1
    first, second, another_seed, *later = [end["sum"] for end in ends]
    assert first == second == later[0] == later[1] != another_seed


def test_a_name_that_exists_is_refused_and_can_be_extended(finished, extended):
    more, memory, root, sweep = extended
    with pytest.raises(ConfigError, match=r"--resume a --sweeps .* gensweep tune --extend a --sweeps .* --trials N"):
        run_plan(sweep, root=root)
    searched = trials_of(more)[:10]
    assert [t.trial for t in searched] == [f"t000{i}" for i in range(10)]
    assert [(t.trial, t.params, t.curve) for t in searched[:5]] == [
        (t.trial, t.params, t.curve) for t in trials_of(finished[0])
    ]
    assert [s.trial for s in memory.of(Started)][:4] == ["t0005", "t0006", "t0007", "t0008"]
    assert len({t.params["x"] for t in searched}) == 10  # the sampler does not repeat its draws
    memory, half = Memory(), root / "a" / "checkpoints" / "t0000" / ".half.part"
    half.mkdir()  # as a worker leaves it that is ended while it saves
    assert run_plan(sweep, [memory], root=root, resume=True).state.status == "finished"
    assert [type(event) for event in memory.events] == [SessionStarted, SessionEnded]  # nothing is left to run
    assert not half.exists()


def test_ends_are_reported_and_the_best_trial_is_repeated(extended):
    result, memory, _, _ = extended
    new = trials_of(result)[5:]
    assert [t.status for t in new[:5]] == ["finished", "pruned", "failed", "finished", "infeasible"]
    _, _, failed, best, infeasible, *repeats = new
    assert (infeasible.error, infeasible.images) == ("params 9 is more than 4", 0)
    assert result.state.ranking[0] == best
    assert [(t.trial, t.status) for t in repeats] == [("t0008-s1", "finished"), ("t0008-s2", "finished")]
    ends = [t.best.evaluation.signals for t in (best, *repeats)]
    assert len({end["sum"] for end in ends}) == 3  # other seeds
    assert len({end["pid"] for end in ends}) == 1  # the search's workers
    assert (result.state.status, result.exit_code) == ("finished", 3)
    assert failed.error.startswith("ValueError: as the test wants it; log: ")
    log = Path(failed.log).read_text()
    assert "raise ValueError" in log
    assert "Output of the workers: logs/ of Ray's session" in log
    frozen = told(result)[5:]
    assert [each.state.name for each in frozen] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE", "PRUNED"]
    assert frozen[1].intermediate_values == {100: pytest.approx(5.01)}
    ended = [event.trial for event in memory.of(Ended)]
    assert sorted(ended[:5]) == [f"t000{number}" for number in range(5, 10)]
    assert ended[5:] == [trial.trial for trial in repeats]


def test_a_trial_that_asha_let_wait_goes_on_as_if_nothing_had_been(tmp_path):
    memory = Memory()
    configs, search = [{"x": x} for x in (0.1, 0.5, 0.4, 0.9)], {"scheduler": AshaSettings(reduction=2)}
    trials = trials_of(run_plan(plan(configs=configs, search=search, grace=100), [memory], root=tmp_path))
    whole = [trial for trial in trials if trial.status == "finished"]
    assert {trial.status for trial in trials} == {"finished", "pruned"}
    assert {trial.trial for trial in whole} & {event.trial for event in memory.of(Paused)}
    ends = {trial.evaluations[400].evaluation.signals["sum"] for trial in whole}
    assert ends == {undisturbed_sum({}, tmp_path)}


def test_a_second_driver_on_the_same_sweep_is_refused(tmp_path):
    with (
        SweepFolder(tmp_path, "a").locked(),
        pytest.raises(GensweepError, match="running in another process"),
    ):
        run_plan(plan(), root=tmp_path)


def test_a_sweep_ends_at_its_deadline_and_the_trial_that_is_cut_can_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("gensweep.sweep.state.END_SECONDS", 0.0)
    gate = tmp_path / "open"
    sweep = plan(trials=9, configs=[{"steps": 200, "sleep": 0.2, "gate": str(gate)}] * 9, budget=20_000)
    result = run_plan(sweep, root=tmp_path, deadline=time.time() + 15)
    assert (result.state.status, result.exit_code) == ("finished", 0)
    assert [trial.status for trial in trials_of(result)] == ["stopped"]
    assert result.state.wanted == 1
    gate.touch()
    (trial,) = trials_of(run_plan(sweep, root=tmp_path, resume=True))
    assert (trial.status, trial.images) == ("finished", 20_000)
