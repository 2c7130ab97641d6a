"""The driver of a sweep: start, resume, extend; one at a time a sweep; a clean stop on Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from gensweep.errors import ConfigError
from gensweep.sweep.cluster import cluster_nodes, connected
from gensweep.sweep.events import SweepStatus
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plan import Plan, SweepResult
from gensweep.sweep.resources import Allotment, allot
from gensweep.sweep.session import Observer, Session

__all__ = ["run_plan"]

MOST_CALLS_AT_ONCE = 1000
"""Of the queue: two for each trial that runs, which wait most of the time."""

QUEUE_RESTARTS = 20
"""How often the queue is started again when it dies; more often, and the sweep fails."""


def run_plan(
    plan: Plan,
    observers: Sequence[Observer] = (),
    *,
    root: Path = Path("sweeps"),
    resume: bool = False,
    extend: int = 0,
    storage: str | None = None,
) -> SweepResult:
    """Run a sweep to its end, or until it is interrupted.

    `resume` goes on with an interrupted one, `extend` adds so many trials to one that exists.  Checkpoints go to
    `storage`, a folder or URL, by default the sweep's own folder.  Raises ConfigError if the name is taken (or, with
    resume or extend, unknown) or if the resources cannot hold one trial; GensweepError if another process runs it.
    """
    folder = SweepFolder(root, plan.name)
    check_name(folder, resume=resume or extend > 0)
    # Ray takes SIGTERM for itself as it starts; from then on it is ours again.
    with _stop_signals() as stop, folder.locked(), connected(), _stop_signals(stop, (signal.SIGTERM,)):
        allotment = allot(plan.request, cluster_nodes())
        if not folder.exists:
            folder.create({**plan.settings, "storage": storage})
        chosen = str(folder.settings.get("storage") or storage or folder.path)
        return _run(plan, observers, folder, allotment, extend, chosen, stop)


def check_name(folder: SweepFolder, *, resume: bool) -> None:
    """Raises ConfigError if a new sweep's name is taken, or one that is to go on does not exist."""
    name = folder.name
    if folder.exists and not resume:
        raise ConfigError(
            f"sweep {name!r} exists already in {folder.path}; to go on with it: gensweep tune --resume {name}; "
            f"to add trials to it: gensweep tune --extend {name} --trials N; or choose another name with --name"
        )
    if resume and not folder.exists:
        known = sorted(p.parent.name for p in folder.path.parent.glob("*/sweep.json"))
        raise ConfigError(f"there is no sweep {name!r} in {folder.path.parent} (known: {', '.join(known) or 'none'})")


def _run(
    plan: Plan,
    observers: Sequence[Observer],
    folder: SweepFolder,
    allotment: Allotment,
    more_trials: int,
    storage: str,
    stop: threading.Event,
) -> SweepResult:
    session = Session(plan, folder, observers, more_trials=more_trials)
    session.open(allotment.concurrent)
    status: SweepStatus = "finished"
    error = None
    if session.state.left and not stop.is_set():
        try:
            _tune(plan, folder, allotment, storage, session, stop)
        except Exception as problem:
            status, error = "failed", f"{type(problem).__name__}: {problem}"
    if stop.is_set() and session.state.left:
        status = "interrupted"
    session.close(status, error)
    return SweepResult(folder.path, status, session.state, allotment, error)


def _tune(
    plan: Plan, folder: SweepFolder, allotment: Allotment, storage: str, session: Session, stop: threading.Event
) -> None:
    import ray
    import ray.cloudpickle
    from ray import tune

    from gensweep.sweep.follow import Follower, Stops
    from gensweep.sweep.placement import drivers_node_resource, free_groups, on_drivers_node
    from gensweep.sweep.search import SessionSearch, make_scheduler
    from gensweep.sweep.trial_queue import TrialQueue
    from gensweep.sweep.trial_runner import RunnerSettings, TrialRunner

    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_concurrency": MOST_CALLS_AT_ONCE,
        "max_restarts": QUEUE_RESTARTS,
        "max_task_retries": -1,  # who calls a queue that is being started again waits
        "scheduling_strategy": on_drivers_node(),
    }
    queue: Any = ray.remote(**options)(TrialQueue).remote(free_groups)
    settings = RunnerSettings(
        queue,
        ray.cloudpickle.dumps(plan.job),  # type: ignore[no-untyped-call]
        allotment.request.workers,
        allotment.request.bundle,
        storage,
        plan.max_failures,
        plan.trials_per_group,
    )
    trainable = tune.with_resources(
        tune.with_parameters(TrialRunner, settings=settings), {"CPU": 0, **drivers_node_resource()}
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=SessionSearch(session),
            scheduler=make_scheduler(plan.scheduler, session, budget=plan.budget, **plan.scheduler_settings),
            num_samples=session.state.left,
            max_concurrent_trials=allotment.concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"session-{len(list(folder.ray.glob('session-*'))):03d}",
            storage_path=str(folder.ray),
            callbacks=[Follower(session)],
            stop=Stops(stop, session, queue),
            failure_config=tune.FailureConfig(max_failures=plan.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        ray.kill(queue)


def _trial_name(trial: Any) -> str:
    return str(trial.config.get("trial", trial.trial_id))


@contextmanager
def _stop_signals(
    stop: threading.Event | None = None, numbers: Sequence[int] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second SIGINT acts as ever."""
    stop = stop or threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
