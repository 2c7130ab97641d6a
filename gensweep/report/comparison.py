"""Ranks trials across sweeps and families, but only scores of one identity against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.families.spelling import family_name
from gensweep.ranking import Ranking
from gensweep.report.commands import evaluate_command, search_again_command, why_never_alike
from gensweep.report.ranked_trials import RankedTrial, varied_by_family
from gensweep.report.rungs import Rung, rungs
from gensweep.report.ties import Tie, ties
from gensweep.report.training_curves import TrainedCurves, trained_curves
from gensweep.report.wording import counted, metric_title
from gensweep.results import Anchors, Identity, Score, Unit

if TYPE_CHECKING:
    from gensweep.tracking.records import SweepRecord, TrialRecord


@dataclass(frozen=True)
class LeftOut:
    """A sweep, or some trials of one, that could not be ranked with the others, why, and what would make it alike.

    Those that break limits have scores of the same kind, and others meet all limits.
    """

    sweep: str
    run_id: str
    reason: str
    command: str | None = None
    breaks_limits: bool = False


@dataclass(frozen=True)
class Comparison:
    """Trials of one metric identity, best first, and everything that had to stay out.

    `score` is the best one, and its identity that of all entries; `ties` cannot be told from it by their scores.
    """

    title: str
    score: Score
    sweeps: tuple[SweepRecord, ...]
    entries: tuple[RankedTrial, ...]
    not_comparable: tuple[LeftOut, ...]
    failed: tuple[TrialRecord, ...]
    ties: tuple[Tie, ...]

    @property
    def winner(self) -> RankedTrial:
        """The best trial of all."""
        return self.entries[0]

    @property
    def anchors(self) -> Anchors:
        """Floor and ceiling of all scores: the best trial's, or those of the best one that has them on record."""
        return next((each.score.anchors for each in self.entries if any(each.score.anchors)), Anchors())

    @property
    def direction(self) -> str:
        """Which scores are better, as a word to begin a sentence with."""
        return "Lower" if self.score.mode == "min" else "Higher"

    @cached_property
    def groups(self) -> dict[str, list[RankedTrial]]:
        """The trials by what figures call them: the sweep, or the family where a sweep searched several; best first."""
        groups: dict[str, list[RankedTrial]] = {}
        for each in self.entries:
            groups.setdefault(self.group_of(each.trial), []).append(each)
        return groups

    def group_of(self, trial: TrialRecord) -> str:
        """What figures call the group that a trial of these sweeps would belong to, also if it is not ranked."""
        sweep, family = self.sweep_of(trial), trial.family
        if self._families.get(sweep, {family}) == {family}:
            return sweep
        return family if len(self.sweeps) == 1 else f"{sweep} {family}"

    def group_name(self, group: str) -> str:
        """A group as people read it, ranked or not: families are spelt as in sentences, sweeps as they are called."""
        if group in self.names.values():
            return group
        sweep, space, family = group.rpartition(" ")
        return f"{sweep}{space}{family_name(family)}"

    @cached_property
    def names(self) -> dict[tuple[str, str], str]:
        """By id and name of each sweep, what figures call it: of several with one name, with the run id."""
        several = Counter(name for _, name in {(sweep.sweep_id, sweep.name) for sweep in self.sweeps})
        return {
            (sweep.sweep_id, sweep.name): sweep.name if several[sweep.name] == 1 else f"{sweep.name} {_short(sweep)}"
            for sweep in self.sweeps
        }

    def name_of(self, trial: TrialRecord) -> str:
        """What tables call a trial, unlike any other's."""
        return f"{self.sweep_of(trial)}/{trial.trial}"

    def sweep_of(self, trial: TrialRecord) -> str:
        """What tables call the sweep of a trial, unlike any other's."""
        return self.names.get((trial.sweep_id, trial.sweep), trial.sweep)

    @cached_property
    def _families(self) -> dict[str, set[str]]:
        """The families of each sweep that are ranked."""
        families: dict[str, set[str]] = {}
        for each in self.entries:
            families.setdefault(self.sweep_of(each.trial), set()).add(each.trial.family)
        return families

    @cached_property
    def trained(self) -> dict[Unit, TrainedCurves]:
        """The curves of the trainings in each unit that is on record, the best unit first; asks the store for them."""
        return {each.unit: each for each in trained_curves(self)}

    @cached_property
    def rungs(self) -> list[Rung]:
        """How well early scores ranked the final ones; asks the store for histories."""
        trials: dict[str, list[RankedTrial]] = {name: [] for name in self.names.values()}
        for each in self.entries:
            trials.setdefault(self.sweep_of(each.trial), []).append(each)
        return [rung for name, mine in trials.items() for rung in rungs(name, mine)]


def _short(sweep: SweepRecord) -> str:
    """As much of a sweep's run id as names it."""
    return sweep.run_id[:8]


def compare(sweeps: Sequence[SweepRecord], *, asked: bool = False) -> Comparison:
    """Rank the trials whose scores share the identity by which most trials are judged; of equally many the newest.

    With `asked` the user named the sweeps, so one that does not fit is an error and not left out.  Raises
    NothingToCompareError if no trial has a score, GensweepError for sweeps that cannot be compared.
    """
    chosen, out = (list(sweeps), []) if asked else _newest_of_each_name(sweeps)
    everyone = Ranking(trial for sweep in chosen for trial in sweep.trials)
    groups = everyone.comparable()
    if not groups:
        raise NothingToCompareError(
            f"nothing to compare: none of {sum(len(sweep.trials) for sweep in chosen)} trials in {len(chosen)} sweeps "
            f"has a score; run: gensweep trials {chosen[0].name if chosen else ''}"
        )
    ranked = groups[_counting(chosen, groups)]
    scores = [trial.objective for trial in ranked if trial.objective is not None]
    inside = {trial.run_id for trial in ranked}
    kept = [sweep for sweep in chosen if any(trial.run_id in inside for trial in sweep.trials)]
    taken = {sweep.name for sweep in sweeps}
    for sweep in chosen:
        out += [item for item in (_left_out(sweep, inside, ranked[0], taken), _breaking(sweep, inside)) if item]
    if asked:
        scored = {trial.run_id for group in everyone.groups().values() for trial in group}
        strangers = [each for each in chosen if each not in kept and any(one.run_id in scored for one in each.trials)]
        _refuse(strangers, out, kept)
    differs = {run_id: keys for sweep in kept for run_id, keys in varied_by_family(sweep.trials).items()}
    entries = tuple(
        RankedTrial(rank, trial, score, differs[trial.run_id])
        for rank, (trial, score) in enumerate(zip(ranked, scores, strict=True), 1)
    )
    failed = tuple(trial for sweep in kept for trial in sweep.trials if trial.status == "failed")
    title = metric_title(scores[0].metric, scores[0].identity)
    return Comparison(title, scores[0], tuple(kept), entries, tuple(out), failed, ties(entries))


def _refuse(strangers: Collection[SweepRecord], out: Sequence[LeftOut], kept: Sequence[SweepRecord]) -> None:
    """Raise GensweepError if there are sweeps with scores that are not of those that are kept."""
    lines, others = [], ", ".join(sweep.name for sweep in kept)
    typed = {sweep.run_id: sweep.typed for sweep in strangers}
    for item in (each for each in out if each.run_id in typed):
        way = f"look at it alone: gensweep best {typed[item.run_id]}"
        way = f"to make it alike run: {item.command}" if item.command else way
        lines.append(f"{item.sweep} cannot be compared with {others}: {item.reason}; {way}")
    if lines:
        raise GensweepError("\n".join(lines))


def _newest_of_each_name(sweeps: Iterable[SweepRecord]) -> tuple[list[SweepRecord], list[LeftOut]]:
    newest: dict[str, SweepRecord] = {}
    out = []
    for sweep in sorted(sweeps, key=lambda item: item.started, reverse=True):
        if newest.setdefault(sweep.name, sweep) is not sweep:
            reason = f"an older sweep of the same name (name it by its run id {_short(sweep)} to compare it)"
            out.append(LeftOut(sweep.name, sweep.run_id, reason))
    return list(newest.values()), out


def _counting(chosen: Sequence[SweepRecord], groups: Mapping[Identity, Sequence[TrialRecord]]) -> Identity:
    """The identity of the scores that are ranked: that by which most trained trials are judged.

    A trial counts for the identity by which its sweep is ranked, even if it was stopped at a cheaper kind of score.
    What was not trained here is cheap to evaluate again, so it follows the others and not they it.
    """
    judged: dict[str, Identity] = {}
    for sweep in chosen:
        for best in islice(Ranking(sweep.trials), 1):
            assert best.objective is not None
            judged[sweep.run_id] = best.objective.identity

    def weight(identity: Identity) -> tuple[bool, int, int, int, datetime, int]:
        mine = [sweep for sweep in chosen if judged.get(sweep.run_id) == identity]
        trained = sum(trial.objective is not None and not trial.imported for sweep in mine for trial in sweep.trials)
        whole = any(trial.status == "finished" for trial in groups[identity])
        newest = max((sweep.started for sweep in mine), default=datetime.min.replace(tzinfo=UTC))
        return whole, trained, len(mine), len(groups[identity]), newest, identity.samples

    return max(groups, key=weight)


def _left_out(sweep: SweepRecord, inside: set[str], like: TrialRecord, taken: Collection[str]) -> LeftOut | None:
    """Why trials of a sweep are not ranked with the one that they should be like; None if all are."""
    scored = [trial for group in Ranking(sweep.trials).comparable().values() for trial in group]
    if not scored:
        failed = sum(trial.status == "failed" for trial in sweep.trials)
        reason = f"no trial has a score ({counted(len(sweep.trials), 'trial')}, {failed} failed)"
        return LeftOut(sweep.name, sweep.run_id, reason)
    strangers = [trial for trial in scored if trial.run_id not in inside and not trial.broken_limits]
    if not strangers:
        return None
    first, which = strangers[0], f"{len(strangers)} of {len(scored)} trials: " if len(strangers) < len(scored) else ""
    reason, command = f"scores of another kind ({_difference(first, like)})", None
    if first.imported:
        command = evaluate_command(first, like.sweep)
    elif impossible := why_never_alike(first, like):
        reason += f"; {impossible}"
    else:
        command = search_again_command(sweep, first, like, taken)
    return LeftOut(sweep.name, sweep.run_id, f"{which}{reason}", command)


def _breaking(sweep: SweepRecord, inside: set[str]) -> LeftOut | None:
    """The trials of a sweep that are not ranked as they break its limits; None if there are none."""
    everyone = [trial for group in Ranking(sweep.trials).groups().values() for trial in group]
    broken = [trial for trial in everyone if trial.broken_limits and trial.run_id not in inside]
    if not broken:
        return None
    first = f"{broken[0].trial}: {'; '.join(broken[0].broken_limits)}"
    which = f"{len(broken)} of {len(everyone)} trials" if len(broken) < len(everyone) else "all trials"
    return LeftOut(sweep.name, sweep.run_id, f"{which} break a limit ({first})", breaks_limits=True)


def _difference(found: TrialRecord, like: TrialRecord) -> str:
    """In what two scores differ, besides their values."""
    theirs, ours = found.objective, like.objective
    assert theirs is not None
    assert ours is not None
    if theirs.metric != ours.metric or theirs.mode != ours.mode:
        return f"objective: {theirs.metric} ({theirs.mode}) against {ours.metric} ({ours.mode})"
    return "; ".join(theirs.identity.differences(ours.identity).values())
