"""Made-up curves of trainings."""

from gensweep.verdict.training_curves import CurvePoint, TrainingCurve


def curve(group, number, points, *, configuration=None, stopped=False, failed=False, error=0.0, seed=0):
    """A training of a group from (spent, order) pairs."""
    name = f"{group}/{number}"
    made = tuple(CurvePoint(float(spent), float(order), error) for spent, order in points)
    return TrainingCurve(group, name, configuration or name, made, stopped, failed, seed)


def family(rng, group, n, law, budgets, *, spread=0.3):
    """Trainings whose scores follow a law of the budget, each times a factor of its own."""
    quality = rng.lognormal(0, spread, n)
    return [
        curve(group, index, [(budget, factor * law(budget)) for budget in budgets])
        for index, factor in enumerate(quality)
    ]
