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
from gensweep.sweep.cluster import connected
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plan import Plan, SweepResult
from gensweep.sweep.resources import Allotment, allot, cluster_nodes
from gensweep.tracking.records import Observer, SweepStatus

__all__ = ["run_plan"]


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
            folder.create({**plan.settings, "trials": plan.trials, "storage": storage})
        settings = folder.settings
        trials = int(settings.get("trials", plan.trials)) + extend
        if extend:
            folder.create({**settings, "trials": trials})
        place = settings.get("storage") or storage
        resumed = resume or extend > 0
        return _run(plan, observers, folder, allotment, trials, str(place or folder.path), resumed, stop)


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
    trials: int,
    storage: str,
    resumed: bool,
    stop: threading.Event,
) -> SweepResult:
    from gensweep.sweep.ledger import Ledger
    from gensweep.sweep.search import Asha, StudySearch, make_sampler, make_scheduler, make_study

    sampler = make_sampler(plan.sampler, plan.seed, len(folder.records()), plan.sampler_settings)
    study = make_study(folder.optuna, plan.name, plan.mode, sampler)
    ledger = Ledger(plan, folder, study, observers, trials)
    ledger.reconcile()
    scheduler = make_scheduler(plan.scheduler, mode=plan.mode, budget=plan.budget, **plan.scheduler_settings)
    if isinstance(scheduler, Asha):
        for record in ledger.records.values():
            scheduler.replay(record.trial, record.rungs)
    ledger.open(allotment.concurrent, resumed)
    status: SweepStatus = "finished"
    error = None
    if ledger.left and not stop.is_set():
        search = StudySearch(ledger, study, sampler, plan.mode)
        try:
            _tune(plan, folder, allotment, storage, ledger, search, scheduler, stop)
        except Exception as problem:
            status, error = "failed", f"{type(problem).__name__}: {problem}"
    if stop.is_set() and ledger.unfinished:
        status = "interrupted"
    ledger.close(status)
    records = tuple(sorted(ledger.records.values(), key=lambda record: record.number))
    return SweepResult(plan.name, folder.path, status, records, plan.metric, plan.mode, allotment, error)


def _tune(
    plan: Plan,
    folder: SweepFolder,
    allotment: Allotment,
    storage: str,
    ledger: Any,
    search: Any,
    scheduler: Any,
    stop: threading.Event,
) -> None:
    import ray
    import ray.cloudpickle
    from ray import tune

    from gensweep.sweep.follow import Follower, Stops
    from gensweep.sweep.group import free_groups_of_the_dead
    from gensweep.sweep.mailbox import Mailbox
    from gensweep.sweep.trainable import Slot, SlotSettings

    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 1000}
    mailbox: Any = ray.remote(**options)(Mailbox).remote(plan.metric, plan.mode)
    settings = SlotSettings(
        mailbox,
        ray.cloudpickle.dumps(plan.job),  # type: ignore[no-untyped-call]
        allotment.request.workers,
        allotment.request.bundle,
        storage,
        plan.max_failures,
        plan.trials_per_group,
    )
    trainable = tune.with_resources(tune.with_parameters(Slot, settings=settings), {"CPU": 0, "memory": 1})
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=ledger.left,
            max_concurrent_trials=allotment.concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"session-{len(list(folder.ray.glob('session-*'))):03d}",
            storage_path=str(folder.ray),
            callbacks=[Follower(ledger)],
            stop=Stops(stop, ledger, mailbox),
            failure_config=tune.FailureConfig(max_failures=plan.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        free_groups_of_the_dead()
        ray.kill(mailbox)


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
