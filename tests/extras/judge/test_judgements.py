"""Judgements from the log of a sweep: decisions, the seeds to train next, and streams of candidates."""

import pytest
from logged import LoggedSweep

from gensweep.errors import GensweepError
from gensweep.extras.judge.judgements import ZETA, Rules, due_seeds, judgements
from gensweep.sweep.events import Suggested

GOOD, SAME, BAD = (80, 81, 79, 80, 82), (99, 96, 95, 97, 101), (130, 128, 131, 129, 132)
BASE = (100, 103, 99, 102, 98)


class Judged:
    """A sweep with scores of a base and of candidates, one for each seed."""

    def __init__(self, root, mode="min"):
        self.log, self.sign = LoggedSweep(root, mode=mode), 1 if mode == "min" else -1

    def train(self, trial, scores, status="finished"):
        for number, score in enumerate(scores):
            name, known = (trial if number == 0 else f"{trial}-s{number}"), self.log.trials
            if name not in known:
                repeated = None if number == 0 else trial
                self.log.add(Suggested(name, int(trial[1:]), {}, {}, {"seed": number}, repeat_of=repeated))
                self.log.start(name)
                self.log.evaluate(name, 100, self.sign * score)
                self.log.end(name, status, None if status == "finished" else "the loss is not finite")

    @property
    def state(self):
        return self.log.folder.state()


@pytest.fixture
def sweep(tmp_path):
    return Judged(tmp_path)


def names(events):
    return [event.trial for event in events]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("scores", "decision"), [(GOOD, "keep"), (SAME[:2], "undecided"), (BAD, "discard")])
def test_scores_decide_in_both_directions(tmp_path, mode, scores, decision):
    judged = Judged(tmp_path, mode)
    judged.train("t0000", BASE)
    judged.train("t0001", scores)
    (found,) = judgements(judged.state, Rules())
    assert found.decision == decision
    assert found.scores[0] == (judged.sign * 100, judged.sign * scores[0])
    assert (found.looks[0].gain > 0) == (scores[0] < 100)


def test_seeds_are_trained_in_pairs_until_the_test_decides(sweep):
    rules = Rules(most_seeds=4)
    sweep.train("t0000", BASE[:1])
    assert due_seeds(sweep.state, rules) == []
    sweep.train("t0001", SAME[:1])
    due = due_seeds(sweep.state, rules)
    assert names(due) == ["t0000-s1", "t0001-s1"]
    assert [(event.repeat_of, event.config["seed"]) for event in due] == [("t0000", 1), ("t0001", 1)]
    for pairs in (2, 3):
        sweep.train("t0000", BASE[:pairs])
        sweep.train("t0001", SAME[:pairs])
        assert names(due_seeds(sweep.state, rules)) == [f"t0000-s{pairs}", f"t0001-s{pairs}"]
    sweep.train("t0000", BASE[:4])
    sweep.train("t0001", SAME[:4])
    assert due_seeds(sweep.state, rules) == []


def test_known_seeds_of_the_base_are_not_trained_again(sweep):
    sweep.train("t0000", BASE)
    sweep.train("t0001", SAME[:1])
    assert names(due_seeds(sweep.state, Rules())) == ["t0001-s1"]
    sweep.train("t0001", GOOD[:1])


def test_a_candidate_that_fails_is_discarded_and_names_the_cause(sweep):
    sweep.train("t0000", BASE[:2])
    sweep.train("t0001", SAME[:1], status="failed")
    (found,) = judgements(sweep.state, Rules())
    assert (found.decision, found.error) == ("discard", "the loss is not finite")
    assert due_seeds(sweep.state, Rules()) == []


def test_a_base_that_fails_is_an_error(sweep):
    sweep.train("t0000", BASE[:1], status="failed")
    sweep.train("t0001", SAME[:1])
    with pytest.raises(GensweepError, match=r"the base t0000 failed \(the loss is not finite\)"):
        due_seeds(sweep.state, Rules())


def test_a_kept_candidate_of_a_stream_is_the_next_base_and_gets_its_seeds(sweep):
    rules = Rules(stream=True)
    sweep.train("t0000", BASE)
    sweep.train("t0001", BAD[:3])
    sweep.train("t0002", GOOD[:4])
    sweep.train("t0003", SAME)
    assert due_seeds(sweep.state, rules) == []
    found = judgements(sweep.state, rules)
    assert [each.base.trial for each in found] == ["t0000", "t0000", "t0002"]
    assert found[-1].scores[0] == (GOOD[0], SAME[0])
    assert [each.error_rate for each in found] == pytest.approx(
        [0.05 / ZETA, 0.05 / ZETA / 2**1.5, 2 * 0.05 / ZETA / 3**1.5]
    )


def test_without_a_stream_all_candidates_have_one_base_and_one_error(sweep):
    sweep.train("t0000", BASE)
    sweep.train("t0001", GOOD)
    sweep.train("t0002", GOOD)
    found = judgements(sweep.state, Rules())
    assert [each.base.trial for each in found] == ["t0000", "t0000"]
    assert [each.error_rate for each in found] == [0.05, 0.05]


def test_the_errors_of_a_stream_without_a_keep_add_up_to_the_declared_one():
    rules = Rules(stream=True)
    assert sum(rules.error_rate_of(position, 0) for position in range(1, 200_000)) == pytest.approx(0.05, rel=2e-3)
