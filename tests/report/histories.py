"""Trials with all their evaluations, as a verdict by compute reads them."""

from dataclasses import replace

import numpy as np
from made_up import IDENTITY
from recorded import sweep, trial

from gensweep.results import Cost, Evaluation, Score

#: Where trainings are evaluated, in FLOPs.
BUDGETS = np.geomspace(1e12, 16e12, 9)


class History:
    """Trials and their evaluations, which the verdict reads instead of a store."""

    def __init__(self):
        self.evaluations = {}

    def trial(self, name, number, family, points, *, sample_flops=None, **values):
        """A trial with (flops, score) pairs."""
        found = [
            Evaluation(
                index,
                {"fd": Score(float(value), "min", IDENTITY, error=0.01 * float(value))},
                Cost(images=index, flops=float(flops), train_seconds=float(flops) / 1e11, sample_flops=sample_flops),
            )
            for index, (flops, value) in enumerate(points, 1)
        ]
        best = min(found, key=lambda each: each.scores["fd"].value)
        made = trial(name, number, best.scores["fd"].value, family=family, **values)
        made = replace(made, objective=best.scores["fd"], cost=found[-1].cost)
        self.evaluations[made.run_id] = tuple(found)
        return made

    def family(self, name, family, n, law, *, seed=0, budgets=BUDGETS, **values):
        quality = np.random.default_rng(seed).lognormal(0, 0.15, n)
        return sweep(
            name,
            [
                self.trial(name, number, family, [(each, factor * law(each)) for each in budgets], **values)
                for number, factor in enumerate(quality)
            ],
        )
