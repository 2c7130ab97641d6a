"""The driver of a sweep: start, resume, extend; one at a time a sweep; a clean stop on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import math
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.causes import file_problem
from gensweep.config.sweep_config import Repeats
from gensweep.errors import GensweepError
from gensweep.files import removing_dead_scratch, scratch_folder
from gensweep.search.reruns import Retry
from gensweep.search.session import Observer, Session
from gensweep.search.sweep_plan import SweepPlan, SweepResult
from gensweep.sweep.allotment import bundle
from gensweep.sweep.checkpoints import removing_partial
from gensweep.sweep.cluster import connected, is_local
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.core_claims import claimed_cores
from gensweep.sweep.events import SessionEnded, SweepStatus
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.interruption import set_by
from gensweep.sweep.storage import HeldStorage, held_storage

if TYPE_CHECKING:
    from gensweep.sweep.capacity import Capacity

MOST_CALLS_AT_ONCE = 1000  # of the queue: two for each trial that runs, which wait most of the time


def run_plan(
    plan: SweepPlan,
    observers: Sequence[Observer] = (),
    *,
    root: Path = SWEEPS,
    resume: bool = False,
    extend: int = 0,
    repeats: Repeats | None = None,
    retry: Retry | None = None,
    storage: str | None = None,
) -> SweepResult:
    """Run a sweep to its end, or until it is interrupted.

    `resume` goes on with an interrupted one, `extend` adds so many trials to one that exists, and `repeats` trains its
    best again with other seeds, which the plan may ask for, too.  `retry` goes on with failed trials, too, by the
    settings of the plan, which are kept.  Checkpoints and a copy of the log go to
    `storage`, a folder or URL; by default checkpoints stay in the sweep's own folder.  Raises ConfigError if the name
    is taken (or, with resume or extend, unknown), if the resources cannot hold one trial, or if workers could not use
    the storage; GensweepError if another process runs it.  Without a cluster it waits for cores that other sweeps use.
    """
    folder = SweepFolder(root, plan.name)
    folder.check_name(resume=resume or extend > 0 or retry is not None)
    folder.check_log()
    more = repeats or plan.search.repeats or (folder.state().repeats and not extend) or retry
    trials = math.inf if more else _trials_left(plan, folder) + extend
    # Ray takes SIGTERM for itself as it starts; from then on it is ours again.
    stop, local = threading.Event(), is_local()
    with (
        set_by(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        folder.locked(),
        # Of workers that are still in a trial when it ends.
        removing_dead_scratch(),
        removing_partial(folder.path),
        claimed_cores(plan.name, plan.resources, stop, trials) if local else nullcontext() as cpus,
        connected(cpus),
        set_by(stop, signal.SIGTERM),
        ExitStack() as opened,
    ):
        from gensweep.sweep.capacity import Capacity
        from gensweep.sweep.hosts import check_hosts

        if local:
            opened.enter_context(_no_keys_handed_on())
        capacity = Capacity(plan.resources)
        check_hosts(plan, folder, storage)
        held = opened.enter_context(held_storage(folder, storage, plan.kept_settings))
        if retry is not None:
            retry.check(folder)
            held.change_settings(folder, plan.settings)
        going_on: dict[str, Any] = {"more_trials": extend, "repeats": repeats, "retry": retry, "storage": held}
        session = Session(plan, folder, observers, concurrent=capacity.trials, **going_on)
        status: SweepStatus = "finished"
        error = None
        try:
            again = True
            while again and session.state.left and not stop.is_set() and not session.gives_up:
                again = _tune(plan, folder, held, session, capacity, stop)
        except GensweepError as problem:
            status, error = "failed", str(problem)
        except Exception as problem:
            status, error = "failed", _words(problem, folder)
        if stop.is_set() and session.state.left:
            status = "interrupted"
        elif status == "finished" and session.gives_up:
            status, error = "failed", session.gives_up
        session.note(SessionEnded(status, error))
        return SweepResult(folder.path, session.state, None if held.own else held.root)


def _trials_left(plan: SweepPlan, folder: SweepFolder) -> int:
    state = folder.state()
    return plan.search.most_trials if state.created is None else state.left


def _words(problem: Exception, folder: SweepFolder) -> str:
    """What was raised that nobody expected, in a line; the traceback goes to the log of the driver if it can."""
    words = file_problem(problem, folder.path) or f"{type(problem).__name__}: {problem}".splitlines()[0]
    try:
        return f"{words}; traceback: {folder.write_log('driver', traceback.format_exc())}"
    except OSError:
        return words  # a full disk takes no log of its being full


def _tune(
    plan: SweepPlan,
    folder: SweepFolder,
    storage: HeldStorage,
    session: Session,
    capacity: Capacity,
    stop: threading.Event,
) -> bool:
    """Run what is left; returns whether that broke off, as Tune does not survive a process that is out of memory."""
    import ray
    import ray.exceptions
    from ray import tune

    from gensweep.sweep.carried import Carried
    from gensweep.sweep.kept_worker import RunnerSettings
    from gensweep.sweep.placement import drivers_node_resource, free_dead
    from gensweep.sweep.search import SessionCallback, SessionSearcher, SessionStopper
    from gensweep.sweep.trial_queue import TrialQueue
    from gensweep.sweep.trial_runner import TrialRunner

    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_concurrency": MOST_CALLS_AT_ONCE,
        "max_restarts": -1,
        "max_task_retries": -1,  # who calls a queue that is being started again waits
        "resources": drivers_node_resource(),
    }
    book = folder.path / "ray"
    with scratch_folder(plan.name) as scratch:
        queue: Any = ray.remote(**options)(TrialQueue).remote()
        asked = plan.resources
        settings = RunnerSettings(
            queue,
            Carried(plan.job),
            asked.worker_counts,
            bundle(asked),
            storage.root,
            storage.own,
            scratch,
            plan.trials_per_group,
        )
        settings.leases.mkdir()
        runner = tune.with_parameters(TrialRunner, settings=settings)
        searcher = SessionSearcher(session, capacity, stop)
        tuner = tune.Tuner(
            tune.with_resources(runner, {"CPU": 0, **drivers_node_resource()}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,  # the searcher says when it is over; a trial that was paused is one more for Tune
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=lambda trial: f"{_trial_name(trial)}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{len(list(book.glob('session-*'))):03d}",
                storage_path=str(book),
                callbacks=[SessionCallback(session, queue)],
                stop=SessionStopper(stop, session, queue, settings.leases, searcher.look),
                failure_config=tune.FailureConfig(max_failures=-1),  # the session ends a trial that fails too often
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except RuntimeError as error:
            if not isinstance(error.__cause__, ray.exceptions.RayError):
                raise
            session.requeue_all(f"a process of the sweep was lost ({error})".splitlines()[0], traceback.format_exc())
            return True
        finally:
            capacity.close()
            free_dead(settings.leases)
            ray.kill(queue)
    return False


@contextmanager
def _no_keys_handed_on() -> Iterator[None]:
    """Tune hands no keys to actors of a local Ray, which have what this process has: Ray writes them into a log."""
    from ray.tune.execution import class_cache

    handed_on: set[str] = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set())
    keys = {name for name in handed_on if name.startswith("AWS_")}
    handed_on -= keys
    try:
        yield
    finally:
        handed_on |= keys


def _trial_name(trial: Any) -> str:
    return str(trial.config.get("trial", trial.trial_id))
