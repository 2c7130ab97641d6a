"""Runs a sweep with MLflow and the progress display, says how it ended, and has its winner scored on fresh seeds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from gensweep.api.filed_reports import file_reports
from gensweep.api.winner import score_winner
from gensweep.build.parts import check_inputs
from gensweep.build.sampler_warnings import sampler_warnings
from gensweep.build.training_length import TrainingLengths
from gensweep.config import SweepConfig, TrialConfig
from gensweep.config.sweep_config import Repeats
from gensweep.errors import GensweepError
from gensweep.last_words import last_words
from gensweep.redaction import check_without_secret
from gensweep.report.display import ProgressDisplay
from gensweep.report.wording import counted
from gensweep.sweep.allotment import allot, local_nodes
from gensweep.sweep.auto_formats import with_formats
from gensweep.sweep.continuation import going_on_command
from gensweep.sweep.feasibility import check_feasible
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.planning import plan_sweep, settled
from gensweep.sweep.preflight import (
    check_extremes,
    check_places,
    check_population,
    extreme_trials,
    node_memory_problem,
)
from gensweep.sweep.retrying import Retry
from gensweep.sweep.run import run_plan
from gensweep.sweep.space import SearchSpace
from gensweep.sweep.start import Start
from gensweep.sweep.storage import chosen_storage
from gensweep.sweep.sweep_plan import SweepPlan, SweepResult
from gensweep.sweep.warm_start import EarlierSweep, earlier_sweeps, is_prepared, warm_start_words, warm_starts
from gensweep.tracking import study_file
from gensweep.tracking.boards import Boards, boards_of
from gensweep.tracking.provenance import changed_plugins
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import sweep_in
from gensweep.tracking.store import remember_runs
from gensweep.tracking.store_check import check_server, store_folders
from gensweep.tracking.study_file import StudyFile
from gensweep.tracking.sync import sync
from gensweep.tracking.view import LogView, with_provenance


def run_sweep(
    sweep: SweepConfig,
    *,
    root: Path,
    storage: str | None = None,
    resume: bool = False,
    extend: int = 0,
    repeats: Repeats | None = None,
    retry: Retry | None = None,
    start: Start | None = None,
) -> SweepResult:
    """Run a sweep with MLflow and the progress display as observers; its first trial may go on from a checkpoint.

    Raises ConfigError for what can be known before anything starts, GensweepError if the tracking server is away.
    """
    if storage is not None:
        check_without_secret("storage", storage)
    folder = SweepFolder(root, sweep.name)
    folder.check_name(resume=resume or extend > 0 or retry is not None)
    result = _ended(sweep, folder, storage) if resume and repeats is None else None
    if result is None:
        going_on: dict[str, Any] = {"resume": resume, "extend": extend, "repeats": repeats, "retry": retry}
        result = _run(sweep, folder, storage, start, going_on)
    _print_end(result)
    if result.state.status == "finished":
        score_winner(sweep, root, several=len(result.state.trials) > 1)
    if result.state.best is not None:
        _file_report(sweep, root)
    remember_runs()
    return result


def _run(
    sweep: SweepConfig, folder: SweepFolder, storage: str | None, start: Start | None, going_on: Mapping[str, Any]
) -> SweepResult:
    display, root = ProgressDisplay(going_on=sweep.search.scheduler.going_on), folder.path.parent
    farewell = (
        f"Error: {sweep.name} ended in the middle: its process was killed, or lost Ray's head; "
        f"to go on: {going_on_command('resume', folder.path)}"
    )
    with ExitStack() as opened:
        opened.enter_context(closing(display))
        display.show_phase("checking the sweep")
        plan = replace(_checked_plan(sweep, root, storage, display), start=start)
        observers: list[LogView | Boards] = [
            *_views(sweep, folder),
            *(boards_of(kind, folder) for kind in sweep.observers),
        ]
        opened.enter_context(last_words(farewell))
        for each in observers:
            opened.enter_context(closing(each))
        display.show_phase("starting Ray")
        return run_plan(plan, [*observers, display], root=root, storage=storage, **going_on)


def _ended(sweep: SweepConfig, folder: SweepFolder, storage: str | None) -> SweepResult | None:
    """What became of a sweep of which nothing is left to do, once its views have its log; None for any other.

    What lies in a storage may have been gone on with elsewhere.
    """
    state = folder.state()
    if state.created is None or state.status != "finished" or state.left or chosen_storage(folder, storage) is not None:
        return None
    for view in _views(sweep, folder):
        with closing(view):
            view.wake()
    return SweepResult(folder.path, state)


def _views(sweep: SweepConfig, folder: SweepFolder) -> list[LogView]:
    study = partial(StudyFile, folder, SearchSpace.of(sweep).suggest)
    return [
        LogView("MLflow", partial(Replay, folder, driving=True), lock=folder.mlflow_lock()),
        LogView(folder.optuna.name, study, study_file.INTERVAL),
    ]


def _checked_plan(sweep: SweepConfig, root: Path, storage: str | None, display: ProgressDisplay) -> SweepPlan:
    """The plan of a sweep, after all has been tried that needs no Ray; what there is to note is shown."""
    folder, lengths = SweepFolder(root, sweep.name), TrainingLengths()
    # What can be refused in an instant comes first, then what takes building and loading.
    check_places(folder, storage, store_folders())
    if not os.environ.get("RAY_ADDRESS"):
        allot(sweep.resources, local_nodes(sweep.resources))
    check_server(writes=True)
    extremes = extreme_trials(sweep)
    check_population(sweep)
    for line in check_extremes(sweep, extremes, folder, storage, store_folders()):
        display.say(f"Note: {line}")
    plan = plan_sweep(sweep, lengths)
    if os.environ.get("RAY_ADDRESS") and not folder.exists:  # of one that goes on, what is left may be small
        plan = replace(plan, memory_problem=partial(node_memory_problem, sweep, extremes))
    trials = [sweep.trial(corner) for corner in SearchSpace.of(sweep).corners()]
    for line in sampler_warnings(trials):
        display.say(f"Warning: {line}")
    for line in check_inputs(trials, sweep.final_settings):
        display.say(f"Note: {line}")
    if not is_prepared(folder.state(), plan):
        check_feasible(plan)
        earlier, first = earlier_sweeps(plan, root), [extreme.trial for extreme in extremes]
        plan = replace(plan, measure=partial(_measured, sweep, first, lengths, earlier, display))
    plan = with_provenance(plan, folder, sweep.as_dict())
    for line in _changed_since(plan, folder):
        display.say(f"Note: {line}")
    return plan


def _measured(
    sweep: SweepConfig,
    trials: Sequence[TrialConfig],
    lengths: TrainingLengths,
    earlier: Sequence[EarlierSweep],
    display: ProgressDisplay,
    plan: SweepPlan,
) -> SweepPlan:
    """The plan of a new sweep with its formats, and then with what others know of trials that have them, too."""
    sweep, found = with_formats(sweep, trials)
    plan = settled(plan, sweep, lengths)
    plan = replace(plan, warm_starts=warm_starts(plan, earlier))
    for line in [*found, *map(warm_start_words, plan.warm_starts)]:
        display.say(f"Note: {line}")
    return plan


def _file_report(sweep: SweepConfig, root: Path) -> None:
    from rich.console import Console

    folder = SweepFolder(root, sweep.name)
    try:
        with Console(stderr=True).status("filing the report in MLflow"):  # a minute after ten thousand trials
            sync(folder)
            file_reports([sweep_in(folder)])
    except GensweepError as error:
        words = f"MLflow has no report of {sweep.name} ({error}); to file it: gensweep best --compare"
        click.echo(f"Note: {words}", err=True)


def _changed_since(plan: SweepPlan, folder: SweepFolder) -> list[str]:
    """What is not as it was when a sweep that goes on last ran."""
    sessions = folder.state().sessions
    return changed_plugins(sessions[-1].tags, plan.tags) if sessions else []


def _print_end(result: SweepResult) -> None:
    for trial in result.state.failed:
        click.echo(f"{trial.trial} failed: {trial.error}", err=True)
    if result.retry_command is not None:
        click.echo(f"To run what failed again: {result.retry_command}", err=True)
    if result.state.error:
        click.echo(f"Error: the sweep could not go on: {result.state.error}", err=True)
    if result.state.status != "finished":
        click.echo(f"To go on: {result.resume_command}", err=True)
        if result.stored_at is not None:
            click.echo(f"On another machine: gensweep tune --resume {shlex.quote(result.stored_at)}", err=True)
        return
    click.echo(f"Sweep {result.folder.name}: {counted(len(result.state.trials), 'trial')} in {result.folder}", err=True)
    click.echo("Next: gensweep best --compare, or mlflow ui", err=True)
