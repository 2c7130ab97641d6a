"""What a search has spent, kept up to date, against what a look at all its trials says."""

from hypothesis import given
from hypothesis import strategies as st
from logged import MadeEvents, evaluation

from gensweep.results import Cost
from gensweep.sweep.events import Created, Evaluated, Paced, Paused, Resumed, Retried, SessionEnded, Suggested
from gensweep.sweep.search_spending import MOST_EXTRAPOLATED
from gensweep.sweep.state import SweepState

TRIALS = ("t0000", "t0001", "t0002", "t0003", "t0001-s1")


class Noted(MadeEvents):
    """A sweep whose events go into its state at once."""

    def __init__(self):
        self.state = SweepState()
        self.add(Created("id", "a", "fd", "min", 10, search_unit="flops", search_budget=1e3))

    @property
    def trials(self):
        return self.state.trials

    def add(self, event):
        self.state.apply(event, 0)


def looked_at(state):
    """Amount, whole, scoring and those that train, from the numbers of all trials."""
    of_search = [trial for trial in state.trials.values() if trial.repeat_of is None]
    flops = {trial.trial: trial.numbers.get("flops", 0) + trial.numbers.get("scoring_flops", 0) for trial in of_search}
    begun = [trial for trial in of_search if trial.images and trial.length and trial.status != "failed"]
    longer = {trial.trial: max(1.0, trial.length / trial.images) for trial in begun}
    far = [trial for trial in begun if longer[trial.trial] <= MOST_EXTRAPOLATED]
    whole = max((flops[each.trial] * longer[each.trial] for each in far or begun), default=0.0)
    scored = [each.numbers.get("scoring_flops", 0) / len(each.evaluations) for each in of_search if each.evaluations]
    training = {each.trial for each in of_search if each.status in ("waiting", "running", "stopped")}
    return sum(flops.values()), whole, max(scored, default=0.0), training


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(TRIALS),
            st.sampled_from(["go on", "pause", "retime", "finished", "pruned", "failed", "stopped", "lost"]),
            st.integers(1, 30),
            st.integers(0, 10**14),
            st.integers(0, 10**14),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_what_is_kept_up_to_date_is_what_a_look_at_all_trials_says(steps):
    noted = Noted()
    state = noted.state
    for name, what, images, flops, scoring, looks in steps:
        if name not in state.trials:
            config, repeat_of = {"training": {"images": 90}}, "t0001" if "-" in name else None
            noted.add(Suggested(name, len(state.trials), {}, {}, config, repeat_of))
        trial = state.trials[name]
        if trial.ended:
            noted.add(Retried(name, trial.config))
        match what:
            case "go on":
                noted.add(Resumed(name))
                images += trial.images
                cost = Cost(images=images, flops=flops, scoring_flops=scoring)
                noted.add(Evaluated(name, evaluation(images, 1.0, cost=cost), None))
            case "pause":
                noted.add(Paused(name))
            case "retime":
                noted.add(Paced(name, 60 + images, 10.0))
            case "lost":
                noted.add(SessionEnded("interrupted", "its driver was lost"))
            case status:
                noted.end(name, status)
        if looks:
            agrees(state)
    agrees(state)


def agrees(state):
    known = state.spending
    assert (known.amount, known.whole, known.scoring, {each.trial for each in known.training}) == looked_at(state)
