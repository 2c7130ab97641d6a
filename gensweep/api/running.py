"""Run a sweep with MLflow and the progress display, report its end, and score its winner on fresh seeds."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gensweep.api.live import LiveReport
from gensweep.api.mlflow_verdicts import file_reports
from gensweep.build.costs import TrialCosts
from gensweep.build.parts import check_inputs
from gensweep.build.sampler_warnings import sampler_warnings
from gensweep.config import SweepConfig
from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.last_words import last_words
from gensweep.redaction import check_without_secret
from gensweep.report.display import ProgressDisplay
from gensweep.report.wording import counted, format_further, score
from gensweep.rescoring.sampling_axes import rescore
from gensweep.run.allotment import allot
from gensweep.run.driver import run_plan
from gensweep.run.near_gpus import has_cluster
from gensweep.run.planning import plan_sweep
from gensweep.run.preflight import check_memory, largest_trials, place_findings, refuse
from gensweep.search.space import suggest
from gensweep.search.sweep_plan import SweepPlan, SweepResult, format_warm_start, warm_starts
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plugin_copies import changed_plugins
from gensweep.sweep.provenance import record_provenance
from gensweep.sweep.storage import chosen_storage
from gensweep.sweep.stored_sweeps import read_sweep
from gensweep.tracking import study_file
from gensweep.tracking.loggers import Loggers, loggers_of
from gensweep.tracking.study_file import StudyFile
from gensweep.tracking.sweep_copy import SweepCopy
from gensweep.tracking.sync import sync
from gensweep.tracking.view import LogView
from gensweep.training.device import default_device
from gensweep.versions import required_packages


def run_sweep(
    sweep: SweepConfig,
    *,
    root: Path,
    storage: str | None = None,
    report: str | Path | None = None,
    amend: Callable[[SweepPlan], SweepPlan] | None = None,
    **options: Any,
) -> SweepResult:
    """Run a sweep with MLflow and the progress display as observers, and the options of `run_plan`.

    `report` is the file of a live report; `amend` may change the plan.  Raises ConfigError before anything starts.
    """
    if storage is not None:
        check_without_secret("storage", storage)
    folder = SweepFolder(root, sweep.name)
    folder.check_name(resume=any(options.get(key) for key in ("resume", "extend", "retry")))
    ends_here = options.get("resume") and options.get("repeats") is None and amend is None
    result = _ended(sweep, folder, storage) if ends_here else None
    live = None if report is None else LiveReport(Path(report), sweep.name, root=root)
    try:
        if result is None:
            result = _run(sweep, folder, storage, live, amend, options)
        _print_end(result)
        if result.state.status == "finished":
            score_best(sweep, root, several=len(result.state.trials) > 1)
    finally:
        if live is not None and folder.exists:
            live.write(last=True)
    with Console(stderr=True).status("sending the sweep to MLflow"):  # a minute after ten thousand trials
        if sync(folder) and result.state.best is not None:
            file_reports([read_sweep(folder)])
    return result


def _run(
    sweep: SweepConfig,
    folder: SweepFolder,
    storage: str | None,
    live: LiveReport | None,
    amend: Callable[[SweepPlan], SweepPlan] | None,
    options: Mapping[str, Any],
) -> SweepResult:
    display, root = ProgressDisplay(scheduler=sweep.search.scheduler.kind), folder.path.parent
    farewell = (
        f"Error: {sweep.name} ended early: its process was killed or lost Ray's head node; "
        f"to resume: {continue_command('resume', folder.path)}"
    )
    with ExitStack() as opened:
        opened.enter_context(closing(display))
        plan = _checked_plan(sweep, root, storage, display)
        if amend is not None:
            plan = amend(plan)
        observers: list[LogView | Loggers] = [
            LogView("MLflow", partial(SweepCopy, folder), lock=folder.copy_lock()),
            _study_view(sweep, folder),
            *(loggers_of(kind, folder) for kind in sweep.observers),
            *([] if live is None else [LogView("the report", lambda: live)]),
        ]
        opened.enter_context(last_words(farewell))
        for each in observers:
            opened.enter_context(closing(each))
        display.show_phase("starting Ray")
        return run_plan(plan, [*observers, display], root=root, storage=storage, **options)


def _ended(sweep: SweepConfig, folder: SweepFolder, storage: str | None) -> SweepResult | None:
    """The result of a complete local sweep whose study file is up to date; None for any other."""
    state = folder.state()
    if state.created is None or state.status != "finished" or state.left or chosen_storage(folder, storage) is not None:
        return None
    with closing(_study_view(sweep, folder)) as view:
        view.wake()
    return SweepResult(folder.path, state)


def _study_view(sweep: SweepConfig, folder: SweepFolder) -> LogView:
    return LogView(folder.optuna.name, partial(StudyFile, folder, partial(suggest, sweep.nodes())), study_file.INTERVAL)


def _checked_plan(sweep: SweepConfig, root: Path, storage: str | None, display: ProgressDisplay) -> SweepPlan:
    """The plan of a sweep, after all checks that do not need Ray; shows warnings."""
    folder, costs = SweepFolder(root, sweep.name), TrialCosts()
    display.show_phase("checking the sweep: its folders and resources")
    for package in required_packages():
        if package.problem is not None:
            display.say(f"Note: {package.name} {package.problem}")
    # Instant checks come first, then checks that build networks or load data.
    refuse(place_findings(folder, storage))
    if not has_cluster():
        allot(sweep.resources)
    display.show_phase("checking the sweep: building its largest networks")
    largest = largest_trials(sweep)
    display.show_phase("checking the sweep: memory")
    for line in check_memory(sweep, largest, folder):
        display.say(f"Note: {line}")
    plan = plan_sweep(sweep, costs)
    for line in sampler_warnings(sweep.corners):
        display.say(f"Warning: {line}")
    display.show_phase("checking the sweep: its data and metrics")
    for line in check_inputs(sweep.corners, sweep.final_settings):
        display.say(f"Note: {line}")
    state = folder.state()
    # A driver may have died before it logged the warm starts.
    if state.created is None or not (state.searched or len(state.sources) >= len(plan.search.warm_start)):
        plan = replace(plan, warm_starts=warm_starts(plan, root))
        for line in map(format_warm_start, plan.warm_starts):
            display.say(f"Note: {line}")
    plan = replace(plan, tags=record_provenance(folder, sweep.as_dict()))
    for line in changed_plugins(state.sessions[-1].tags, plan.tags) if state.sessions else []:
        display.say(f"Note: {line}")
    return plan


def _print_end(result: SweepResult) -> None:
    for trial in result.state.failed:
        click.echo(f"{trial.trial} failed: {trial.error}", err=True)
    if result.state.failed:
        click.echo(f"To run failed trials again: {continue_command('retry', result.folder)}", err=True)
    if result.state.error:
        click.echo(f"Error: the sweep stopped: {result.state.error}", err=True)
    if result.state.status != "finished":
        click.echo(f"To resume: {continue_command('resume', result.folder)}", err=True)
        if result.stored_at is not None:
            click.echo(f"On another machine: gensweep tune --resume {shlex.quote(result.stored_at)}", err=True)
        return
    if cut := [trial.trial for trial in result.state.unfinished]:
        again = continue_command("resume", result.folder)
        click.echo(f"Time is up. To finish {', '.join(cut)}: {again}", err=True)
    click.echo(f"Sweep {result.folder.name}: {counted(len(result.state.trials), 'trial')} in {result.folder}", err=True)
    click.echo("Next: gensweep best --compare, or mlflow ui", err=True)


#: A seed that no evaluation of a training uses; theirs is 0.
FRESH_SEED = 1


def score_best(sweep: SweepConfig, root: Path, *, several: bool) -> None:
    """Score the best trial on fresh seeds, as the best score is partly luck, and with `final`; or print how to."""
    final = dict(sweep.final_settings)
    samples = final.pop("evaluation.samples", None)
    wanted: list[dict[str, Any]] = [{}] if sweep.rescore and several else []
    wanted += [{"samples": samples, "changed": final}] if sweep.final is not None else []
    for settings in wanted:
        _rescore(sweep, root, settings)


def _rescore(sweep: SweepConfig, root: Path, settings: dict[str, Any]) -> None:
    words = ["gensweep", "evaluate", sweep.name, "--seed", str(FRESH_SEED)]
    words += ["--samples", str(settings["samples"])] if settings.get("samples") else []
    for key, value in settings.get("changed", {}).items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    command = shlex.join(words)
    if sweep.resources.gpus_per_worker and not has_cluster() and default_device().type != "cuda":
        click.echo(f"To score the best trial on fresh seeds, on a machine with a GPU: {command}", err=True)
        return
    try:
        best = read_sweep(SweepFolder(root, sweep.name)).best
        (found,) = rescore(best, {}, command, seed=FRESH_SEED, **settings)
    except NothingToCompareError:
        return
    except GensweepError as error:
        click.echo(f"Note: the best trial was not scored on fresh seeds ({error}); to do it: {command}", err=True)
        return
    if settings:
        said = "; ".join(map(format_further, found.outcome.scores.values()))
    else:
        was = "" if best.score is None else f" (its score in the search: {score(best.score.value)})"
        said = f"{score(found.score.value)}{was}"
    click.echo(f"{best.name} on fresh seeds: {said}", err=True)
