"""Ranks trials across sweeps and families, but only scores of one identity against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.commands import evaluate_command, search_again_command
from gensweep.report.ranked_trials import RankedTrial, varied_by_family
from gensweep.report.rungs import Rung, rungs
from gensweep.report.ties import Tie, ties
from gensweep.report.wording import metric_title
from gensweep.results import Identity, Score, comparable

if TYPE_CHECKING:
    from gensweep.tracking.records import SweepRecord, TrialRecord


@dataclass(frozen=True)
class LeftOut:
    """A sweep, or some trials of one, that could not be ranked with the others, why, and what would make it alike."""

    sweep: str
    run_id: str
    reason: str
    command: str | None = None


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
    def direction(self) -> str:
        """Which scores are better, as a word to begin a sentence with."""
        return "Lower" if self.score.mode == "min" else "Higher"

    @cached_property
    def groups(self) -> dict[str, list[RankedTrial]]:
        """The trials by what figures call them: the sweep, or the family where a sweep searched several; best first."""
        families: dict[str, set[str]] = {}
        for each in self.entries:
            families.setdefault(each.trial.sweep, set()).add(each.trial.family)
        groups: dict[str, list[RankedTrial]] = {}
        for each in self.entries:
            sweep, family = each.trial.sweep, each.trial.family
            several = family if len(self.sweeps) == 1 else f"{sweep} {family}"
            groups.setdefault(sweep if len(families[sweep]) == 1 else several, []).append(each)
        return groups

    @cached_property
    def rungs(self) -> list[Rung]:
        """How well early scores ranked the final ones; asks the store for histories."""
        found = []
        for sweep in self.sweeps:
            found += rungs(sweep.name, [entry for entry in self.entries if entry.trial.sweep == sweep.name])
        return found


def compare(sweeps: Sequence[SweepRecord], *, asked: bool = False) -> Comparison:
    """Rank the trials of the largest group of sweeps whose scores share an identity; of equal groups the newest.

    With `asked` the user named the sweeps, so one that does not fit is an error and not left out.  Raises
    NothingToCompareError if no trial has a score, GensweepError for sweeps that cannot be compared.
    """
    chosen, out = (list(sweeps), []) if asked else _newest_of_each_name(sweeps)
    groups = comparable(trial for sweep in chosen for trial in sweep.trials)
    if not groups:
        raise NothingToCompareError(
            f"nothing to compare: none of {sum(len(sweep.trials) for sweep in chosen)} trials in {len(chosen)} sweeps "
            f"has a score; run: gensweep trials {chosen[0].name if chosen else ''}"
        )
    starts = {sweep.name: sweep.started for sweep in reversed(chosen)}
    ranked = max(groups.items(), key=lambda group: _weight(group[0], group[1], starts))[1]
    scores = [trial.objective for trial in ranked if trial.objective is not None]
    inside = {trial.run_id for trial in ranked}
    kept = [sweep for sweep in chosen if any(trial.run_id in inside for trial in sweep.trials)]
    for sweep in chosen:
        out += _left_out(sweep, inside, scores[0], ranked[0].sweep)
    names = [sweep.name for sweep in kept]
    if asked and (strangers := [item for item in out if item.command is not None and item.sweep not in names]):
        raise GensweepError(
            "\n".join(
                f"{item.sweep} cannot be compared with {', '.join(names)}: {item.reason}; "
                f"to make it alike run: {item.command}"
                for item in strangers
            )
        )
    differs = {run_id: keys for sweep in kept for run_id, keys in varied_by_family(sweep.trials).items()}
    entries = tuple(
        RankedTrial(rank, trial, score, differs[trial.run_id])
        for rank, (trial, score) in enumerate(zip(ranked, scores, strict=True), 1)
    )
    failed = tuple(trial for sweep in kept for trial in sweep.trials if trial.status == "failed")
    title = metric_title(scores[0].metric, scores[0].identity)
    return Comparison(title, scores[0], tuple(kept), entries, tuple(out), failed, ties(entries))


def _newest_of_each_name(sweeps: Iterable[SweepRecord]) -> tuple[list[SweepRecord], list[LeftOut]]:
    newest: dict[str, SweepRecord] = {}
    out = []
    for sweep in sorted(sweeps, key=lambda item: item.started, reverse=True):
        if newest.setdefault(sweep.name, sweep) is not sweep:
            reason = f"an older sweep of the same name (name it by its run id {sweep.run_id[:8]} to compare it)"
            out.append(LeftOut(sweep.name, sweep.run_id, reason))
    return list(newest.values()), out


def _weight(
    identity: Identity, trials: Sequence[TrialRecord], starts: Mapping[str, datetime]
) -> tuple[int, int, int, int, datetime, int]:
    # What was not trained here is cheap to evaluate again, so it follows the others and not they it.
    trained, sweeps = {t.sweep for t in trials if not t.imported}, {t.sweep for t in trials}
    # Trials that were stopped at a cheaper kind of score follow those that have the whole one.
    finished = sum(trial.status == "finished" for trial in trials)
    return len(trained), len(sweeps), finished, len(trials), max(starts[name] for name in sweeps), identity.samples


def _left_out(sweep: SweepRecord, inside: set[str], best: Score, like: str) -> list[LeftOut]:
    scored = [trial for group in comparable(sweep.trials).values() for trial in group]
    if not scored:
        failed = sum(trial.status == "failed" for trial in sweep.trials)
        reason = f"no trial has a score ({len(sweep.trials)} trials, {failed} failed)"
        return [LeftOut(sweep.name, sweep.run_id, reason)]
    strangers = [trial for trial in scored if trial.run_id not in inside]
    if not strangers or (theirs := strangers[0].objective) is None:
        return []
    some = len(strangers) < len(scored)
    if theirs.metric != best.metric or theirs.mode != best.mode:
        words = f"objective: {theirs.metric} ({theirs.mode}) against {best.metric} ({best.mode})"
    else:
        words = "; ".join(theirs.identity.differences(best.identity).values())
    if strangers[0].imported:
        command = evaluate_command(strangers[0], like)
    else:
        command = search_again_command(sweep, best, theirs, early=some)
    which = f"{len(strangers)} of {len(scored)} trials: " if some else ""
    return [LeftOut(sweep.name, sweep.run_id, f"{which}scores of another kind ({words})", command)]
