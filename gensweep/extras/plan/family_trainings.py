"""The trainings of a comparison by family, as laws of compute are fitted to them."""

from __future__ import annotations

from dataclasses import replace

from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.extras.plan.scored_trainings import ScoredTraining
from gensweep.results import Unit, family_name
from gensweep.sweep.trial_state import TrialState
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.training_curves import trained_curves


def trainings_by_family(comparison: Comparison, unit: Unit) -> dict[str, list[ScoredTraining]]:
    """The trainings of each family with curves in that unit; where a family has several networks, of each of them.

    Raises ConfigError for scores that no law of this kind fits, NothingToCompareError if no cost is on record.
    """
    if comparison.score.order != comparison.score.value:
        raise ConfigError(
            f"{comparison.title} is better the higher it is, and a law needs scores that fall towards a floor; "
            "name sweeps whose objective is fd, kid or bpd"
        )
    trained, real = {each.unit: each for each in trained_curves(comparison)}, comparison.anchors.floor
    # Fewer real images than generated ones have more bias, and models may score less.
    as_many = real is not None and real.images == comparison.score.identity.samples
    floor = max(0.0, real.value) if real is not None and as_many else 0.0
    ends = {name: {curve.trial: curve.spent for curve in each.curves} for name, each in trained.items()}
    found: dict[tuple[str, str], list[ScoredTraining]] = {}
    for curve in trained[unit].curves if unit in trained else ():
        trial = trained[unit].entries[curve.trial].trial
        if any(point.order <= 0 for point in curve.points):
            raise ConfigError(
                f"{trial.name} has a {comparison.title} that is not above 0, of which there is no power law; name "
                "sweeps whose objective is fd"
            )
        flops, images = (ends.get(name, {}).get(curve.trial) for name in ("flops", "images"))
        network = trial.at_best.config.get("network", {})
        width = network.get("width")
        if images and flops and isinstance(width, int):
            family = found.setdefault((trial.family, network.get("kind", "")), [])
            seed = sum(each.curve.configuration == curve.configuration for each in family)
            named = replace(curve, trial=trial.name + (f" (repeat {seed})" if seed else ""))
            family.append(ScoredTraining(named, flops / images, curve.spent / images, width, floor))
    if not found:
        raise NothingToCompareError(
            f"none of {len(comparison.entries)} scored trials has its {unit}, FLOPs and width of network on record; "
            f"a plan needs trials that were trained here: gensweep trials {comparison.sweeps[0].name}"
        )
    families = [family for family, _ in found]
    return {
        family_name(family) + (f" ({network})" if families.count(family) > 1 else ""): trainings
        for (family, network), trainings in found.items()
    }


def trial_of(comparison: Comparison, training: ScoredTraining) -> TrialState:
    """The ranked trial with the configuration of a training."""
    return next(entry.trial for entry in comparison.entries if entry.trial.name == training.curve.configuration)
