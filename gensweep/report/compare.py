"""Ranks trials across sweeps and families, but only scores of one identity against each other."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.collapse import warnings_of
from gensweep.report.commands import evaluate_command
from gensweep.report.rungs import Rung, rungs
from gensweep.report.ties import Tie, ties
from gensweep.report.wording import difference_words, family_name, identity_differences, metric_title, rough, score
from gensweep.results import Identity, Score, comparable

if TYPE_CHECKING:
    from gensweep.tracking.records import SweepRecord, TrialRecord

__all__ = ["Comparison", "Entry", "LeftOut", "compare", "varied", "varied_by_family", "verdict"]


@dataclass(frozen=True)
class Entry:
    """A ranked trial; `differs` are the keys of its parameters that vary within its sweep and family."""

    rank: int
    trial: TrialRecord
    score: Score
    differs: tuple[str, ...]


@dataclass(frozen=True)
class LeftOut:
    """A sweep, or some trials of one, that could not be ranked with the others, and why."""

    sweep: str
    run_id: str
    reason: str
    command: str | None = None
    """What would make it comparable."""


@dataclass(frozen=True)
class Comparison:
    """Trials of one metric identity, best first, and everything that had to stay out."""

    title: str
    score: Score
    """The best one; its identity is that of all entries."""
    sweeps: tuple[SweepRecord, ...]
    entries: tuple[Entry, ...]
    not_comparable: tuple[LeftOut, ...]
    failed: tuple[TrialRecord, ...]
    ties: tuple[Tie, ...] = ()
    """Trials that cannot be told from the best one by their scores."""

    def group(self, trial: TrialRecord) -> str:
        """What figures call the trials like this one: the sweep, or the family where a sweep searched several."""
        families = {entry.trial.family for entry in self.entries if entry.trial.sweep == trial.sweep}
        if len(families) == 1:
            return trial.sweep
        return trial.family if len(self.sweeps) == 1 else f"{trial.sweep} {trial.family}"

    def best_of_groups(self) -> list[Entry]:
        """The best entry of each group, best first."""
        first: dict[str, Entry] = {}
        for entry in self.entries:
            first.setdefault(self.group(entry.trial), entry)
        return list(first.values())

    @cached_property
    def rungs(self) -> list[Rung]:
        """How well early scores ranked the final ones; asks the store for histories."""
        return rungs(self.sweeps, self.score.mode)

    @property
    def winner(self) -> Entry:
        """The best trial of all."""
        return self.entries[0]

    def best_of(self, key: str) -> list[Entry]:
        """The best entry of each family or sweep (`key` is "family" or "sweep"), best first."""
        first: dict[str, Entry] = {}
        for entry in self.entries:
            first.setdefault(str(getattr(entry.trial, key)), entry)
        return list(first.values())


def compare(sweeps: Sequence[SweepRecord], *, asked: bool = False) -> Comparison:
    """Rank the trials of the largest group of sweeps whose scores share an identity; of equal groups the newest.

    With `asked` the user named the sweeps, so one that does not fit is an error and not left out.  Raises
    NothingToCompareError if no trial has a score, GensweepError for sweeps that cannot be compared.
    """
    newest: dict[str, SweepRecord] = {}
    out: list[LeftOut] = []
    for sweep in sorted(sweeps, key=lambda item: item.started, reverse=True):
        if newest.setdefault(sweep.name, sweep) is not sweep and not asked:
            reason = f"an older sweep of the same name (name it by its run id {sweep.run_id[:8]} to compare it)"
            out.append(LeftOut(sweep.name, sweep.run_id, reason))
    chosen = list(sweeps) if asked else list(newest.values())
    groups = comparable(trial for sweep in chosen for trial in sweep.trials)
    if not groups:
        raise NothingToCompareError(_nothing(chosen))
    starts = {sweep.name: sweep.started for sweep in reversed(chosen)}
    ranked = max(groups.items(), key=lambda group: _weight(group[0], group[1], starts))[1]
    best = ranked[0].objective
    assert best is not None
    inside = {trial.run_id for trial in ranked}
    kept = [sweep for sweep in chosen if any(trial.run_id in inside for trial in sweep.trials)]
    for sweep in chosen:
        out += _left_out(sweep, inside, best, ranked[0].sweep)
    strangers = [item for item in out if item.command is not None and item.sweep not in {s.name for s in kept}]
    if asked and strangers:
        raise GensweepError(_refusal(kept, strangers))
    differs = {trial.run_id: keys for sweep in kept for trial, keys in varied_by_family(sweep.trials)}
    return Comparison(
        title=metric_title(best.metric, best.identity),
        score=best,
        sweeps=tuple(kept),
        entries=tuple(
            Entry(rank, trial, trial.objective, differs[trial.run_id])
            for rank, trial in enumerate(ranked, 1)
            if trial.objective is not None
        ),
        not_comparable=tuple(out),
        failed=tuple(trial for sweep in kept for trial in sweep.trials if trial.status == "failed"),
        ties=ties(ranked),
    )


def varied(trials: Iterable[TrialRecord]) -> tuple[str, ...]:
    """The searched parameters whose values are not the same in all trials, in order of appearance."""
    listed = list(trials)
    keys = dict.fromkeys(key for trial in listed for key in trial.params)
    missing = object()
    if len(listed) < 2:
        return tuple(keys)
    return tuple(key for key in keys if len({repr(trial.params.get(key, missing)) for trial in listed}) > 1)


def varied_by_family(trials: Sequence[TrialRecord]) -> list[tuple[TrialRecord, tuple[str, ...]]]:
    """Each trial with the keys that vary among the trials of its own family."""
    families: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        families.setdefault(trial.family, []).append(trial)
    keys = {family: varied(members) for family, members in families.items()}
    return [(trial, keys[trial.family]) for trial in trials]


def verdict(comparison: Comparison) -> str:
    """One sentence: who won, against whom, by how much, at which cost; and a second one if there is a doubt."""
    best = comparison.winner
    families = comparison.best_of("family")
    rivals = families if len(families) > 1 else comparison.best_of("sweep")
    if len(rivals) < 2:
        rivals = list(comparison.entries[:2])
    if len(families) > 1:
        family = family_name(best.trial.family)
        sentence = f"{family[:1].upper()}{family[1:]} wins"
    else:
        sentence = f"{best.trial.name} is best"
    sentence += f": {comparison.title} {score(best.score.value)}"
    if len(rivals) > 1:
        other = rivals[1]
        whom = f"the best {family_name(other.trial.family)}'s" if len(families) > 1 else f"{other.trial.name}'s"
        sentence += f", {_margin(best.score, other.score)} {whom} {score(other.score.value)}"
        sentence += _price(best.trial, other.trial)
    doubts = warnings_of(best.trial.signals)
    sentences = [sentence, *_close_call(comparison, rivals), *([f"Warning: {'; '.join(doubts)}"] if doubts else [])]
    return " ".join(f"{each}." for each in sentences)


def _close_call(comparison: Comparison, rivals: Sequence[Entry]) -> list[str]:
    """A sentence if the best cannot be told from others, and one of its score on fresh seeds."""
    said, best = [], comparison.winner
    if comparison.ties:
        close = {tie.trial.run_id: tie for tie in comparison.ties}
        nearest = [close[entry.trial.run_id] for entry in rivals[1:] if entry.trial.run_id in close]
        tie = (nearest or comparison.ties)[0]
        low, high = (rough(value) for value in tie.interval)
        others = "" if len(close) == 1 else f" and {len(close) - 1} more"
        pairs = ", image by image" if tie.paired else ""
        said.append(
            f"Too close to call: {tie.trial.name}{others} may be as good (behind by {low} to {high} at 95 %{pairs})"
        )
    if (again := best.trial.rescored) is not None:
        excess = again.value - best.score.value
        worse = "worse" if (excess > 0) == (best.score.mode == "min") else "better"
        said.append(f"Scored again on fresh seeds: {score(again.value)}, {rough(abs(excess))} {worse}")
    return said


def _weight(
    identity: Identity, trials: Sequence[TrialRecord], starts: Mapping[str, datetime]
) -> tuple[int, int, int, int, datetime, int]:
    # What was not trained here is judged again at little cost, so it follows the others and not they it.
    trained, sweeps = {t.sweep for t in trials if not t.imported}, {t.sweep for t in trials}
    # Trials that were stopped at a cheaper kind of score follow those that have the whole one.
    finished = sum(trial.status == "finished" for trial in trials)
    return len(trained), len(sweeps), finished, len(trials), max(starts[name] for name in sweeps), identity.samples


def _left_out(sweep: SweepRecord, inside: set[str], best: Score, like: str) -> list[LeftOut]:
    scored = [trial for group in comparable(sweep.trials).values() for trial in group]
    strangers = [trial for trial in scored if trial.run_id not in inside]
    if not scored:
        failed = sum(trial.status == "failed" for trial in sweep.trials)
        reason = f"no trial has a score ({len(sweep.trials)} trials, {failed} failed)"
        return [LeftOut(sweep.name, sweep.run_id, reason)]
    if not strangers or strangers[0].objective is None:
        return []
    theirs = strangers[0].objective
    many = "" if len(strangers) == len(scored) else f"{len(strangers)} of {len(scored)} trials: "
    if theirs.metric != best.metric or theirs.mode != best.mode:
        words = f"objective: {theirs.metric} ({theirs.mode}) against {best.metric} ({best.mode})"
    else:
        words = difference_words(best.identity, theirs.identity)
    imported = strangers[0].imported
    command = evaluate_command(strangers[0], like) if imported else _alike(sweep, best, theirs, early=bool(many))
    return [LeftOut(sweep.name, sweep.run_id, f"{many}scores of another kind ({words})", command)]


def _alike(sweep: SweepRecord, best: Score, theirs: Score, *, early: bool) -> str:
    """The command that makes scores of the best one's kind; `early` ones are of trials that never came to their end."""
    changes: list[str] = []
    for part in identity_differences(best.identity, theirs.identity):
        value: Any = getattr(best.identity, part)
        likelihood = best.identity.timesteps is not None
        if part in ("samples", "steps") and early:
            changes.append(f"evaluation.rung_{part}=null")
        elif part == "samples":
            changes.append(f"evaluation.likelihood.images={value}" if likelihood else f"evaluation.samples={value}")
        elif part == "timesteps" and likelihood:
            changes.append(f"evaluation.likelihood.timesteps={'null' if value == 'all' else value}")
        elif part == "extractor" and value is not None:
            changes.append(f"evaluation.extractor.kind={str(value).partition('/')[0]}")
        elif part == "reference":
            changes.append(f"data.kind={str(value).partition('#')[0].partition('/')[0].split()[0]}")
    if best.metric != theirs.metric:
        changes.append(f"objective.metric={best.metric}")
    words = shlex.split(sweep.command) if sweep.command.startswith("gensweep ") else ["gensweep", "tune", "FILE"]
    changes.insert(0, f"name={sweep.name}-2")
    return shlex.join([*words, *(word for change in changes for word in ("--set", change))])


def _refusal(kept: Sequence[SweepRecord], strangers: Sequence[LeftOut]) -> str:
    names = ", ".join(sweep.name for sweep in kept)
    return "\n".join(
        f"{item.sweep} cannot be compared with {names}: {item.reason}; to make it alike run: {item.command}"
        for item in strangers
    )


def _nothing(sweeps: Sequence[SweepRecord]) -> str:
    name = sweeps[0].name if sweeps else ""
    trials = sum(len(sweep.trials) for sweep in sweeps)
    return (
        f"nothing to compare: none of {trials} trials in {len(sweeps)} sweeps has a score; run: gensweep trials {name}"
    )


def _margin(best: Score, other: Score) -> str:
    if best.value == other.value:
        return "level with"
    if other.value == 0:
        return f"{score(abs(best.value - other.value))} {'below' if best.mode == 'min' else 'above'}"
    percent = 100 * abs(best.value - other.value) / abs(other.value)
    amount = f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"
    return f"{amount} {'below' if best.mode == 'min' else 'above'}"


def _price(best: TrialRecord, other: TrialRecord) -> str:
    ours, theirs = best.cost.train_seconds, other.cost.train_seconds
    if not ours or not theirs:
        return ""
    ratio = ours / theirs
    if 0.95 < ratio < 1.05:
        return ", at the same training time"
    return (
        f", at {ratio:.2g} times its training time" if ratio > 1 else f", in {100 * ratio:.0f} % of its training time"
    )
