"""Trials with all their evaluations, as a verdict by compute reads them."""

import numpy as np
from made_up import IDENTITY
from recorded import changed, sweep, trial

from gensweep.results import Cost, Evaluation, Score
from gensweep.sweep.events import Evaluated

#: Where trainings are evaluated, in FLOPs.
BUDGETS = np.geomspace(1e12, 16e12, 9)


def evaluated(made, evaluations):
    """A trial with these evaluations."""
    made = changed(made, cost=evaluations[-1].cost)
    events = [Evaluated(made.trial, each, None) for each in evaluations]
    made.evaluations = {each.evaluation.images: each for each in events}
    made.best = min(events, key=lambda each: each.evaluation.scores["fd"].order)
    return made


def gan_law(budget):
    """Soon good, and then hardly better; 40 at 4e12."""
    return 40 * (budget / 4e12) ** -0.05


def diffusion_law(budget):
    """Bad at first; 40 at 4e12."""
    return 40 * (budget / 4e12) ** -0.7


class History:
    """Makes trials with their evaluations."""

    def trial(self, name, number, family, points, *, sample_flops=None, floor=None, **values):
        """A trial with (flops, score) pairs."""
        found = [
            Evaluation(
                index,
                {"fd": Score(float(value), "min", IDENTITY, error=0.01 * float(value), floor=floor)},
                Cost(images=index, flops=float(flops), train_seconds=float(flops) / 1e11, sample_flops=sample_flops),
            )
            for index, (flops, value) in enumerate(points, 1)
        ]
        return evaluated(trial(name, number, None, family=family, **values), found)

    def family(self, name, family, n, law, *, seed=0, budgets=BUDGETS, **values):
        quality = np.random.default_rng(seed).lognormal(0, 0.15, n)
        return sweep(
            name,
            [
                self.trial(name, number, family, [(each, factor * law(each)) for each in budgets], **values)
                for number, factor in enumerate(quality)
            ],
        )
