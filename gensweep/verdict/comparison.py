"""Rank trials across sweeps and families; only scores with the same identity are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gensweep.errors import NothingToCompareError
from gensweep.metrics.titles import metric_title
from gensweep.results import BETTER, Anchors, Score, family_name
from gensweep.sweep.ranking import comparable, ranked, scored
from gensweep.verdict.rungs import Rung, rungs
from gensweep.verdict.ties import Tie, ties

if TYPE_CHECKING:
    from gensweep.sweep.stored_sweeps import StoredSweep
    from gensweep.sweep.trial_state import TrialState


@dataclass(frozen=True)
class RankedTrial:
    """A ranked trial; `differs` lists the parameters that vary within its sweep and family."""

    rank: int
    trial: TrialState
    score: Score
    differs: tuple[str, ...]


def varied_by_family(trials: Iterable[TrialState]) -> dict[str, tuple[str, ...]]:
    """By trial name, the searched parameters that vary within its family; all if the family has one trial."""
    families: dict[str, list[TrialState]] = {}
    for trial in trials:
        families.setdefault(trial.family, []).append(trial)
    found = dict[str, tuple[str, ...]]()
    for family in families.values():
        keys = list(dict.fromkeys(key for trial in family for key in trial.params))
        if len(family) > 1:
            keys = [key for key in keys if len({repr(trial.params.get(key, ...)) for trial in family}) > 1]
        found |= {trial.name: tuple(keys) for trial in family}
    return found


@dataclass(frozen=True)
class LeftOut:
    """Trials of a sweep that cannot be ranked with the others, best first, and why.

    They have no score, break limits, or have scores of another kind than the best trial, `like`.
    `scored` counts the trials of the sweep with a score.
    """

    sweep: StoredSweep
    reason: Literal["no score", "limits", "unlike"]
    trials: tuple[TrialState, ...]
    scored: int
    like: TrialState


@dataclass(frozen=True)
class Comparison:
    """Trials with the same metric identity, best first, and all trials that were left out.

    `score` is the best one; all entries share its identity.  `ties` are trials too close to the best one.
    """

    score: Score
    sweeps: tuple[StoredSweep, ...]
    entries: tuple[RankedTrial, ...]
    not_comparable: tuple[LeftOut, ...]
    failed: tuple[TrialState, ...]
    ties: tuple[Tie, ...]

    @property
    def best_score(self) -> RankedTrial:
        """The trial with the best score."""
        return self.entries[0]

    @property
    def anchors(self) -> Anchors:
        """Floor and ceiling of all scores, from the best trial that recorded them."""
        return next((each.score.anchors for each in self.entries if any(each.score.anchors)), Anchors())

    @property
    def direction(self) -> str:
        """Which scores are better, as the first word of a sentence."""
        return BETTER[self.score.mode].capitalize()

    @property
    def title(self) -> str:
        """The name of the score, such as FD-EffNetLite0."""
        return metric_title(self.score.metric, self.score.identity)

    @cached_property
    def groups(self) -> dict[str, list[RankedTrial]]:
        """Trials by group, best first: the sweep, or the family where a sweep searched several."""
        groups: dict[str, list[RankedTrial]] = {}
        for each in self.entries:
            groups.setdefault(self.group_of(each.trial), []).append(each)
        return groups

    def group_of(self, trial: TrialState) -> str:
        """Group of a trial of these sweeps, ranked or not."""
        sweep, family = trial.sweep, trial.family
        if self._families.get(sweep, {family}) == {family}:
            return sweep
        return family if len(self.sweeps) == 1 else f"{sweep} {family}"

    def group_name(self, group: str) -> str:
        """Display name of a group, ranked or not: a family's name in a sentence, or a sweep's name."""
        if group in {sweep.name for sweep in self.sweeps}:
            return group
        sweep, space, family = group.rpartition(" ")
        return f"{sweep}{space}{family_name(family)}"

    def trainings(self, trial: TrialState) -> list[TrialState]:
        """A ranked trial, and its repeats with other seeds."""
        everyone = (each for sweep in self.sweeps if sweep.name == trial.sweep for each in sweep.trials)
        return [each for each in everyone if trial.trial in (each.trial, each.repeat_of)]

    @cached_property
    def _families(self) -> dict[str, set[str]]:
        """Ranked families of each sweep."""
        families: dict[str, set[str]] = {}
        for each in self.entries:
            families.setdefault(each.trial.sweep, set()).add(each.trial.family)
        return families

    @cached_property
    def rungs(self) -> list[Rung]:
        """How well early scores ranked the final ones."""
        return [
            rung
            for sweep in self.sweeps
            for rung in rungs(sweep.name, (each for each in self.entries if each.trial.sweep == sweep.name))
        ]


def compare(sweeps: Sequence[StoredSweep]) -> Comparison:
    """Rank the trials with the best trial's identity.  Raises NothingToCompareError if no trial has a score."""
    newest_first = sorted(sweeps, key=lambda sweep: sweep.started, reverse=True)
    best_first = ranked(*(sweep.trials for sweep in newest_first))
    if not best_first:
        raise NothingToCompareError(
            f"nothing to compare: none of {sum(len(sweep.trials) for sweep in sweeps)} trials in {len(sweeps)} sweeps "
            f"has a score; run: gensweep trials {sweeps[0].name if sweeps else ''}"
        )
    scores = [trial.score for trial in best_first if trial.score is not None]
    inside = {trial.name for trial in best_first}
    kept = [sweep for sweep in sweeps if any(trial.name in inside for trial in sweep.trials)]
    differs = {name: keys for sweep in kept for name, keys in varied_by_family(sweep.trials).items()}
    entries = tuple(
        RankedTrial(rank, trial, score, differs[trial.name])
        for rank, (trial, score) in enumerate(zip(best_first, scores, strict=True), 1)
    )
    failed = tuple(trial for sweep in kept for trial in sweep.trials if trial.status == "failed")
    out = tuple(item for sweep in sweeps for item in _left_out(sweep, inside, best_first[0]))
    return Comparison(scores[0], tuple(kept), entries, out, failed, ties(entries))


def _left_out(sweep: StoredSweep, inside: set[str], like: TrialState) -> Iterator[LeftOut]:
    everyone = [trial for group in scored(sweep.trials).values() for trial in group]
    if not everyone:
        yield LeftOut(sweep, "no score", sweep.trials, 0, like)
    mine = [trial for group in comparable(sweep.trials).values() for trial in group]
    if unlike := [trial for trial in mine if trial.name not in inside and not trial.broken_limits]:
        yield LeftOut(sweep, "unlike", tuple(unlike), len(mine), like)
    if broken := [trial for trial in everyone if trial.name not in inside and trial.broken_limits]:
        yield LeftOut(sweep, "limits", tuple(broken), len(everyone), like)
