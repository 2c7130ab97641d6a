"""Optuna's study of a sweep as its sampler sees it: in memory, and made of the state."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import optuna
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState

from gensweep.config.ranges import Node
from gensweep.config.search_methods import CmaEs, GaussianProcess, GridSearch, Nsga2, Tpe
from gensweep.config.sweep_config import Search
from gensweep.errors import ConfigError
from gensweep.sweep.branch_tpe import BranchTpe
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

Sample: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Asks an Optuna trial for the parameters of the space."""

Told: TypeAlias = Callable[[TrialState], tuple[OptunaState, list[float] | None]]
"""What Optuna calls what became of a trial, and its values."""

#: So many trials are remembered where a draw takes the longer the more there are; twice as many are the most.
#: TPE models 25 of them as the good ones, however many there are.
REMEMBERED = {"tpe": 250, "gp": 125, "nsga2": 250}
#: The share of them that are the best so far; the others are the newest.
BEST_SHARE = 0.2
#: As many finished trials as CMA-ES needs to estimate where to begin again.
FEWEST_SOURCES = 10


class SearchStudy:
    """A study that begins with the trials of other sweeps that are known.

    Of a long search it holds the best trials and the newest, so that a draw takes as long after ten thousand trials as
    after five hundred.
    """

    def __init__(self, state: SweepState, search: Search, sample: Sample, nodes: Sequence[Node] = ()) -> None:
        self._state, self._search, self._sample, self._nodes = state, search, sample, nodes
        self._remember()

    @property
    def trials(self) -> list[FrozenTrial]:
        """What the sampler knows."""
        return self._study.trials

    @property
    def directions(self) -> list[str]:
        """Where better values of each objective lie: MINIMIZE or MAXIMIZE."""
        return [each.name for each in self._study.directions]

    def ask(self, name: str, queued: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Draw a trial; parameters that are `queued` are taken as they are."""
        if self._is_long and self._asked >= REMEMBERED[self._search.sampler.kind]:
            self._remember()
        if queued is not None:
            self._study.enqueue_trial(dict(queued))
        asked = self._study.ask()
        self._running[name] = asked
        self._asked += 1
        return asked

    def noted_of(self, name: str) -> dict[str, int]:
        """What the sampler has noted of a trial, such as its generation, that a study which is made anew must have.

        Only whole numbers: CMA-ES notes its distribution as pickled code, which goes into no log, and without that the
        generations of its trials would be taken for those of the distribution that a later session begins with.
        """
        if isinstance(self._search.sampler, CmaEs):
            return {}
        noted = self._study._storage.get_trial(self._running[name]._trial_id).system_attrs
        return {name: value for name, value in noted.items() if isinstance(value, int)}

    def tell(self, trial: TrialState) -> None:
        """Take in how a trial ended, or how far it had come when it was to wait; of others nothing is told."""
        asked = self._running.get(trial.trial)
        if asked is None:
            return
        state, values = heard(trial)
        known = self._study._storage.get_trial(asked._trial_id)
        if known.state.is_finished():  # it went on since: the study is in memory, and this is what it has of the trial
            known.state, known.values = state, values
            limits = optuna.trial.create_trial(state=OptunaState.FAIL, constraints=trial.excesses)
            known.system_attrs.update(limits.system_attrs)
        elif state.is_finished():
            for metric, excess in trial.excesses.items():
                asked.set_constraint(metric, excess)
            self._study.tell(asked, values, state)
        if trial.ended:
            del self._running[trial.trial]

    @property
    def _is_long(self) -> bool:
        """Whether there are more trials than the sampler is to know."""
        most = REMEMBERED.get(self._search.sampler.kind)
        return most is not None and len(self._state.searched) >= 2 * most

    def _remember(self) -> None:
        """Make the study anew, as a later session would."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._asked = 0
        chosen = _best_and_newest(self._state, REMEMBERED[self._search.sampler.kind]) if self._is_long else None
        frozen = list(frozen_trials(self._state, self._sample, chosen, heard))
        for trial in frozen[: len(self._state.known)]:
            trial.state = OptunaState.COMPLETE
        drawn = len(self._state.known) + len(self._state.searched)
        self._study = optuna.create_study(
            sampler=make_sampler(self._search, drawn, frozen, self._nodes), directions=directions(self._state)
        )
        self._study.add_trials(frozen)
        added = self._study.get_trials(deepcopy=False)[len(self._state.known) :]
        known = zip(self._state.searched if chosen is None else chosen, added, strict=True)
        self._running = {
            trial.trial: optuna.Trial(self._study, told._trial_id) for trial, told in known if not trial.ended
        }


def make_sampler(
    search: Search, drawn: int, known: Sequence[FrozenTrial] = (), nodes: Sequence[Node] = ()
) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of a search in a space of these nodes; CMA-ES begins where others have led.

    A session that goes on must not repeat the random draws of the one before, so the seed depends on how many trials
    were drawn.  Source of TPE's flags: Optuna's documentation of TPESampler on conditional and distributed search.
    """
    seed = (search.seed * 1_000_003 + drawn) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case Tpe() as tpe:
                settings = tpe.model_dump(exclude={"kind", "startup_trials"})
                return BranchTpe(nodes, seed=seed, n_startup_trials=tpe.startup_trials, **settings)
            case GridSearch():
                return Grid(seed=seed)
            case GaussianProcess(startup_trials=startup):
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
            case CmaEs(startup_trials=startup):
                finished = [each for each in known if each.state == OptunaState.COMPLETE]
                return optuna.samplers.CmaEsSampler(
                    seed=seed,
                    n_startup_trials=startup,
                    warn_independent_sampling=False,
                    source_trials=finished if len(finished) >= FEWEST_SOURCES else None,
                )
            case Nsga2(population=population):
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        return optuna.samplers.RandomSampler(seed=seed)


class Grid(optuna.samplers.BruteForceSampler):
    """Every combination of a finite, possibly nested space once, in random order."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: OptunaState, values: Sequence[float] | None
    ) -> None:
        """Leave the study running: the original stops one that Optuna runs itself, which this is not."""
        optuna.samplers.BaseSampler.after_trial(self, study, trial, state, values)


def directions(state: SweepState) -> list[Literal["minimize", "maximize"]]:
    """Where better values of each objective lie, as Optuna says it."""
    return ["minimize" if each.mode == "min" else "maximize" for each in state.objectives]


def outcome(trial: TrialState) -> tuple[OptunaState, list[float] | None]:
    """How Optuna calls what became of a trial, and the values that it has there."""
    match trial.status:
        case "finished" if None not in trial.values.values():
            return OptunaState.COMPLETE, [value for value in trial.values.values() if value is not None]
        case "pruned" if trial.rungs:
            return OptunaState.PRUNED, [trial.rungs[-1][1]]
        case "infeasible":  # which samplers that know of limits learn from
            return OptunaState.PRUNED, None
        case "finished" | "pruned" | "failed":
            return OptunaState.FAIL, None
    return OptunaState.RUNNING, None


def heard(trial: TrialState) -> tuple[OptunaState, list[float] | None]:
    """What a sampler hears of a trial: one that was stopped, or has waited, counts with its best score.

    Else TPE takes every finished trial for better than every stopped one, and the other samplers leave these out.
    """
    state, values = outcome(trial)
    waited = state == OptunaState.RUNNING and trial.has_waited and bool(trial.rungs)
    if waited or (state == OptunaState.PRUNED and values):
        return OptunaState.COMPLETE, [trial.rungs[-1][1]]
    return state, values


def rungs(trial: TrialState) -> dict[int, float]:
    """What Optuna hears of a trial on its way, which is nothing where there are several objectives."""
    return trial.curve if len(trial.objectives) == 1 else {}


def frozen_trials(
    state: SweepState, sample: Sample, chosen: Sequence[TrialState] | None = None, told: Told = outcome
) -> Iterator[FrozenTrial]:
    """The trials of a study of this state, or some of them: first those of other sweeps that it knows."""
    for number, known in enumerate(state.known):
        ended = OptunaState.COMPLETE if known["finished"] else OptunaState.PRUNED
        found = dict(known["rungs"])
        yield _frozen(number, known["params"], sample, state=ended, values=[known["rungs"][-1][1]], rungs=found)
    for number, trial in enumerate(state.searched if chosen is None else chosen, len(state.known)):
        yield frozen_trial(trial, number, sample, told)


def frozen_trial(trial: TrialState, number: int, sample: Sample, told: Told = outcome) -> FrozenTrial:
    """A trial as Optuna has it."""
    ended, values = told(trial)
    found: dict[str, Any] = {"rungs": rungs(trial), "system_attrs": dict(trial.sampler_state)}
    found["constraints"] = {} if ended == OptunaState.RUNNING else trial.excesses
    return _frozen(number, trial.suggested, sample, state=ended, values=values, **found)


def _frozen(
    number: int, suggested: Mapping[str, Any], sample: Sample, *, rungs: dict[int, float], **values: Any
) -> FrozenTrial:
    replayed = FixedTrial(dict(suggested), number)
    with contextlib.suppress(ConfigError, ValueError):  # a trial whose parameters were not valid stopped half-way, too
        sample(replayed)
    frozen = optuna.trial.create_trial(
        params=replayed.params, distributions=replayed.distributions, intermediate_values=rungs, **values
    )
    frozen.number = number
    return frozen


def _best_and_newest(state: SweepState, count: int) -> list[TrialState]:
    """So many trials, and all that workers have or wait for, in the order in which they were drawn."""
    best = state.ranking[: int(count * BEST_SHARE)]
    newest = state.searched[-(count - len(best)) :]
    begun = (trial for trial in state.unfinished if trial.status != "paused")
    chosen = {trial.trial for trial in (*best, *newest, *begun)}
    return [trial for trial in state.searched if trial.trial in chosen]
