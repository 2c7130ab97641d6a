"""The driver of a sweep: start, resume, extend; one at a time a sweep; a clean stop on Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from gensweep.config.sweep_config import Repeats
from gensweep.errors import GensweepError
from gensweep.sweep.cluster import connected
from gensweep.sweep.events import SessionEnded, SweepStatus
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.session import Observer, Session
from gensweep.sweep.sweep_plan import SweepPlan, SweepResult, allot, bundle

MOST_CALLS_AT_ONCE = 1000  # of the queue: two for each trial that runs, which wait most of the time
QUEUE_RESTARTS = 20  # how often the queue is started again when it dies; more often, and the sweep fails


def run_plan(
    plan: SweepPlan,
    observers: Sequence[Observer] = (),
    *,
    root: Path = Path("sweeps"),
    resume: bool = False,
    extend: int = 0,
    repeats: Repeats | None = None,
    storage: str | None = None,
) -> SweepResult:
    """Run a sweep to its end, or until it is interrupted.

    `resume` goes on with an interrupted one, `extend` adds so many trials to one that exists, and `repeats` trains its
    best again with other seeds, which the plan may ask for, too.  Checkpoints go to
    `storage`, a folder or URL, by default the sweep's own folder.  Raises ConfigError if the name is taken (or, with
    resume or extend, unknown) or if the resources cannot hold one trial; GensweepError if another process runs it.
    """
    folder = SweepFolder(root, plan.name)
    folder.check_name(resume=resume or extend > 0)
    # Ray takes SIGTERM for itself as it starts; from then on it is ours again.
    stop = threading.Event()
    with _set_by(stop, signal.SIGINT, signal.SIGTERM), folder.locked(), connected(), _set_by(stop, signal.SIGTERM):
        from gensweep.sweep.placement import node_resources

        allotment = allot(plan.resources, node_resources())
        if not folder.exists:
            folder.create({**plan.settings, "storage": storage})
        chosen = str(folder.settings.get("storage") or storage or folder.path)
        session = Session(plan, folder, observers, concurrent=allotment.concurrent, more_trials=extend)
        status: SweepStatus = "finished"
        error = None
        try:
            for repeated in (None, repeats or plan.search.repeats):
                if repeated is not None and not session.state.left:
                    session.repeat(repeated)
                if session.state.left and not stop.is_set():
                    _tune(plan, folder, chosen, session, allotment.concurrent, stop)
        except GensweepError as problem:
            status, error = "failed", str(problem)
        except Exception as problem:
            log = folder.write_log("driver", traceback.format_exc())
            cause = f"{type(problem).__name__}: {problem}".splitlines()[0]
            status, error = "failed", f"{cause}; traceback: {log}"
        if stop.is_set() and session.state.left:
            status = "interrupted"
        session.note(SessionEnded(status, error))
        return SweepResult(folder.path, session.state)


def _tune(
    plan: SweepPlan, folder: SweepFolder, storage: str, session: Session, concurrent: int, stop: threading.Event
) -> None:
    import ray
    import ray.cloudpickle
    from ray import tune

    from gensweep.sweep.placement import drivers_node_resource
    from gensweep.sweep.search import SessionCallback, SessionSearcher, SessionStopper
    from gensweep.sweep.trial_queue import TrialQueue
    from gensweep.sweep.trial_runner import TrialRunner
    from gensweep.sweep.worker_group import RunnerSettings

    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_concurrency": MOST_CALLS_AT_ONCE,
        "max_restarts": QUEUE_RESTARTS,
        "max_task_retries": -1,  # who calls a queue that is being started again waits
        "resources": drivers_node_resource(),
    }
    book = folder.path / "ray"
    with tempfile.TemporaryDirectory(prefix="gensweep-", ignore_cleanup_errors=True) as scratch:
        queue: Any = ray.remote(**options)(TrialQueue).remote()
        job = ray.cloudpickle.dumps(plan.job)  # type: ignore[no-untyped-call]
        asked = plan.resources
        settings = RunnerSettings(
            queue, job, asked.workers, bundle(asked), storage, Path(scratch), plan.max_failures, plan.trials_per_group
        )
        settings.leases.mkdir()
        runner = tune.with_parameters(TrialRunner, settings=settings)
        tuner = tune.Tuner(
            tune.with_resources(runner, {"CPU": 0, **drivers_node_resource()}),
            tune_config=tune.TuneConfig(
                search_alg=SessionSearcher(session),
                num_samples=session.state.left,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=f"session-{len(list(book.glob('session-*'))):03d}",
                storage_path=str(book),
                callbacks=[SessionCallback(session, queue)],
                stop=SessionStopper(stop, session, queue, settings.leases),
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
def _set_by(stop: threading.Event, *numbers: signal.Signals) -> Iterator[None]:
    """Let signals set an event while inside, in the main thread; a second SIGINT acts as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
