"""Too close to call: differences against their error, paired where images came from the same noise."""

import json
import random
from dataclasses import replace

import pytest
import recorded
from made_up import IDENTITY

from gensweep.results import Score
from gensweep.sweep.folder import SweepFolder
from gensweep.verdict.ties import IntervalEstimate, difference_interval
from gensweep.verdict.ties import ties as ties_of


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """Checkpoints of these trials are named by their places."""
    monkeypatch.setattr(SweepFolder, "existing", lambda folder, checkpoint: checkpoint)


def trial(number, value, *, corrected=None, error=None, folder=None, mode="min"):
    score = Score(value, mode, IDENTITY, value - 5 if corrected is None else corrected, error)
    return recorded.trial("a", number, value, objective=score, checkpoint=None if folder is None else str(folder))


def ties(trials):
    (entries,) = recorded.ranked(trials).values()
    return ties_of(entries)


def with_influences(folder, values):
    folder.mkdir()
    (folder / "checkpoint.json").write_text("{}")
    (folder / "estimates.json").write_text(json.dumps({"fd": {"influences": values}}))
    return folder


@pytest.fixture
def sources(tmp_path):
    """Two trials whose images come from the same noise: most of what an image adds is the same in both."""
    rng = random.Random(0)
    shared = [rng.gauss(0, 100) for _ in range(400)]
    first = [20 + value + rng.gauss(0, 10) for value in shared]
    second = [24 + value + rng.gauss(0, 10) for value in shared]
    return with_influences(tmp_path / "one", first), with_influences(tmp_path / "two", second)


def alone(tmp_path, number):
    return with_influences(tmp_path / f"t{number}", [])


def test_what_lies_within_the_error_of_two_unrelated_sets_is_too_close(tmp_path):
    trials = [trial(n, value, error=3.0, folder=alone(tmp_path, n)) for n, value in enumerate([20.0, 27.0, 29.0])]
    found = ties(trials)
    assert [tie.trial.trial for tie in found] == ["t0001"]  # 7 against 1.96 * sqrt(2) * 3 = 8.3, and 9
    assert not found[0].paired
    assert found[0].interval == pytest.approx((7 - 8.3155, 7 + 8.3155), abs=0.001)


def test_images_of_the_same_noise_tell_close_scores_apart(tmp_path, sources):
    paired = [trial(n, value, error=5.0, folder=sources[n]) for n, value in enumerate([25.0, 29.0])]
    assert ties(paired) == ()
    unrelated = [recorded.changed(each, checkpoint=str(alone(tmp_path, n))) for n, each in enumerate(paired)]
    assert len(ties(unrelated)) == 1


@pytest.mark.parametrize(("up", "found"), [(6.0, 1), (2.0, 0)])
def test_the_interval_ends_that_face_each_other_count(tmp_path, up, found):
    """The best at 15, another at 21, which reaches 2 down: 6 is less than hypot(6, 2), and more than hypot(2, 2)."""
    best = replace(trial(0, 20.0, error=3.0).score, low=5.0, high=15.0 + up)
    other = replace(trial(1, 26.0, error=3.0).score, low=19.0, high=40.0)
    listed = [
        recorded.changed(trial(n, 0.0, folder=alone(tmp_path, n)), objective=score)
        for n, score in enumerate([best, other])
    ]
    assert len(ties(listed)) == found


def test_symmetric_intervals_of_differences_have_a_closed_form():
    first, second = IntervalEstimate(10.0, 7.0, 13.0), IntervalEstimate(6.0, 2.0, 10.0)
    assert difference_interval(first, second, 0.0) == pytest.approx((4 - 5, 4 + 5))
    assert difference_interval(first, second, 0.5) == pytest.approx((4 - 13**0.5, 4 + 13**0.5))
    assert difference_interval(first, first, 1.0) == (0.0, 0.0)


def test_where_more_is_better_a_lower_score_is_behind(tmp_path):
    trials = [
        trial(n, value, error=1.0, mode="max", folder=alone(tmp_path, n)) for n, value in enumerate([20.0, 18.0, 9.0])
    ]
    assert [(tie.trial.trial, tie.difference) for tie in ties(trials)] == [("t0001", 2.0)]
