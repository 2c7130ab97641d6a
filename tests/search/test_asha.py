"""Asynchronous successive halving: who goes on, who waits, who ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from logged import evaluation

from gensweep.config.search_methods import AshaSettings
from gensweep.results import Cost
from gensweep.search.asha import Asha
from gensweep.sweep.events import Created, Ended, Evaluated, Paused, Resumed, Started, Suggested
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

RUNGS = (100, 300, 900)
REDUCTION = 3
curves = st.lists(st.tuples(*[st.floats(-9, 9, width=16)] * len(RUNGS)), min_size=1, max_size=40)


class Sweep:
    """A search whose trials have given scores at 100, 300 and 900 images, the last of which are their budget."""

    def __init__(self, *, trials, mode="min", families=("",), params=(), created=None, **settings):
        self.mode, self.families, self.params = mode, families, params
        self.log, self.jobs = [], []
        self.state, self.scheduler = (
            SweepState(),
            Asha(RUNGS[-1], RUNGS[0], 0, AshaSettings(reduction=REDUCTION, **settings)),
        )
        self.note(Created("id", "a", "fd", mode, trials, **created or {}))

    def note(self, event):
        self.log.append(event)
        self.state.apply(event, 0)

    def start(self):
        """The trial that starts or resumes, or None."""
        match self.scheduler.next(self.state):
            case "sample":
                number = len(self.state.searched)
                name = f"t{number:04d}"
                family = self.families[number % len(self.families)]
                config = {"family": {"kind": family}, "training": {"images": RUNGS[-1]}}
                self.note(Suggested(name, number, {}, {}, config))
            case TrialState(trial=name):
                self.note(Resumed(name))
            case _:
                return None
        self.note(Started(name))
        return name

    def score(self, name, value, images):
        """Report it; True if the trial continues."""
        self.jobs.append((name, images))
        params = self.params[self.state.trials[name].number] if self.params else None
        cost = Cost(images=images, device_seconds=float(images), params=params)
        self.note(Evaluated(name, evaluation(images, value, mode=self.mode, cost=cost), None))
        if self.scheduler.verdict_on(self.state.trials[name], self.state) == "pause":
            self.note(Paused(name))
        if images == RUNGS[-1]:
            self.note(Ended(name, "finished"))
        for trial in self.scheduler.to_stop(self.state):
            self.note(Ended(trial.trial, "pruned"))
        return not self.state.trials[name].ended and self.state.trials[name].status != "paused"

    def play(self, scores, *, workers=1):
        """Train until nothing is left; the trials as they ended."""
        running = []
        while True:
            while len(running) < workers and (name := self.start()) is not None:
                assert name not in running
                running.append(name)
            if not running:
                return list(self.state.trials.values())
            name = running.pop(0)
            images = RUNGS[len(self.state.trials[name].evaluations)]
            if self.score(name, scores[self.state.trials[name].number][RUNGS.index(images)], images):
                running.insert(0, name)


def halved(scores):
    """The jobs of algorithm 2 of Li et al. 2020 with one worker, whose trials count with their best score so far.

    At the first rung one of the first two goes on, too.
    """
    came, promoted = [{} for _ in RUNGS], [set() for _ in RUNGS]
    jobs, new = [], iter(range(len(scores)))
    while True:
        for rung in reversed(range(len(RUNGS) - 1)):
            most = 1 if (rung, len(came[rung])) == (0, 2) else len(came[rung]) // REDUCTION
            best = sorted(came[rung], key=lambda trial: (came[rung][trial], trial))[:most]
            if able := [trial for trial in best if trial not in promoted[rung]]:
                promoted[rung].add(trial := able[0])
                break
        else:
            rung, trial = -1, next(new, None)
            if trial is None:
                return jobs
        came[rung + 1][trial] = min(scores[trial][: rung + 2])
        jobs.append((f"t{trial:04d}", RUNGS[rung + 1]))


@given(scores=curves, sign=st.sampled_from([1, -1]))
def test_with_one_family_the_trials_go_on_that_go_on_in_the_paper(scores, sign):
    sweep = Sweep(trials=len(scores), mode="min" if sign == 1 else "max")
    sweep.play([[sign * score for score in each] for each in scores])
    expected = halved(scores)
    assert sweep.jobs[: len(expected)] == expected


@given(scores=curves, workers=st.integers(1, 5), families=st.sampled_from([("a",), ("a", "b"), ("a", "b", "c", "b")]))
def test_every_family_has_a_whole_training_in_the_end_and_no_trial_waits(scores, workers, families):
    trials = Sweep(trials=len(scores), families=families).play(scores, workers=workers)
    assert {trial.status for trial in trials} <= {"finished", "pruned"}
    assert {trial.family for trial in trials if trial.status == "finished"} == {t.family for t in trials}


def test_the_best_of_a_slow_family_are_followed_one_of_three_two_of_nine():
    fast, slow = [(float(trial),) * 3 for trial in range(27)], [(900.0 - trial, 800.0, 700.0) for trial in range(27)]
    sweep = Sweep(trials=54, families=("fast", "slow"))
    sweep.play([scores for pair in zip(fast, slow, strict=True) for scores in pair])
    came = [images for name, images in sweep.jobs if int(name[1:]) % 2]
    assert [came.count(images) for images in RUNGS] == [27, 3, 1]


def test_one_that_cannot_be_among_the_best_ends_before_all_are_drawn():
    sweep = Sweep(trials=30)
    sweep.play([(float(number),) * 3 for number in range(30)])
    last = max(place for place, event in enumerate(sweep.log) if isinstance(event, Suggested))
    ended = {int(event.trial[1:]) for event in sweep.log[:last] if isinstance(event, Ended)}
    # Ten of thirty go on to 300, or a few more if not as the best of all.
    assert {*range(10, 29)} <= ended <= {0, 1, 2, *range(4, 29)}, ended


def test_the_last_trial_never_pauses():
    for families in (("a",), ("a", "b")):
        sweep = Sweep(trials=len(families), families=families)
        sweep.play([(3.0, 2.0, 1.0)] * len(families), workers=len(families))
        paused = [event.trial for event in sweep.log if isinstance(event, Paused)]
        assert paused == []
        assert len(sweep.jobs) == len(families) * len(RUNGS)


def waits(*reports, **settings):
    """After (trial, images, value), at how many images each of those that wait does."""
    sweep = Sweep(trials=100, **settings)
    for name, images, value in reports:
        if name not in sweep.state.trials:
            sweep.note(Suggested(name, len(sweep.state.trials), {}, {}, {}))
            sweep.note(Started(name))
        sweep.note(Evaluated(name, evaluation(images, value), None))
        if sweep.scheduler.verdict_on(sweep.state.trials[name], sweep.state) == "pause":
            sweep.note(Paused(name))
    return {name: trial.images for name, trial in sweep.state.trials.items() if trial.status == "paused"}


def test_a_score_counts_at_the_rung_that_it_is_a_little_short_of():
    """As of evaluations after 0.11 and 0.33 of a training, with rungs at a ninth and a third."""
    assert waits(("t0", 95, 0.9)) == {"t0": 95}
    assert waits(("t0", 85, 0.9)) == {}


def test_a_late_score_is_not_compared_at_a_passed_rung():
    late = [("t0", 310, 1.0), ("t1", 310, 2.0), ("t2", 100, 7.5), ("t3", 100, 8.0)]
    assert waits(*late) == {"t0": 310, "t1": 310, "t2": 100, "t3": 100}
    assert waits(*late, ("t4", 100, 7.0)) == {"t0": 310, "t1": 310, "t2": 100, "t3": 100}  # t4 is the best of three


def test_a_trial_that_fails_makes_way_for_the_next_best():
    sweep = Sweep(trials=3)
    for value in (1.0, 2.0):
        name = sweep.start()
        sweep.score(name, value, 100)
    assert sweep.start() == "t0000"
    sweep.note(Ended("t0000", "failed"))
    sweep.score(sweep.start(), 3.0, 100)
    assert sweep.start() == "t0001"  # the family has no whole training yet


def test_with_several_objectives_the_trials_of_the_first_front_are_promoted():
    """Of the first two trials the better one, and then the best and the smallest, not the second best."""
    further = {"further": [{"metric": "params", "mode": "min"}]}
    sweep = Sweep(trials=6, created=further, params=(70, 60, 50, 51, 10, 40))
    sweep.play([(score,) * 3 for score in (9.0, 8.0, 2.0, 3.0, 5.0, 7.0)])
    assert [name for name, images in sweep.jobs if images == RUNGS[1]] == ["t0001", "t0002", "t0004"]


def test_a_trial_that_breaks_a_limit_comes_after_those_that_meet_it():
    limits = {"constraints": [{"metric": "params", "max": 55}]}
    sweep = Sweep(trials=2, created=limits, params=(60, 50))
    sweep.play([(1.0,) * 3, (9.0,) * 3])
    assert sweep.jobs[:3] == [("t0000", 100), ("t0001", 100), ("t0001", 300)]
