"""The driver of a sweep: start, resume or extend it, and stop cleanly on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import math
import signal
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.causes import file_problem
from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import remove_dead_scratch, scratch_folder
from gensweep.run.allotment import bundle
from gensweep.run.cluster import connected, is_local
from gensweep.run.core_claims import claimed_share
from gensweep.run.signals import set_by
from gensweep.search.reruns import Retry
from gensweep.search.session import Observer, Session
from gensweep.search.sweep_plan import SweepPlan, SweepResult
from gensweep.sweep.checkpoints import removing_partial
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.events import SessionEnded, SweepStatus
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import HeldStorage, held_storage

if TYPE_CHECKING:
    from gensweep.run.nodes import Capacity


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
    deadline: float | None = None,
) -> SweepResult:
    """Run a sweep to its end, to a `deadline` (by `time.time()`), or until it is interrupted.

    `resume` continues an interrupted sweep, `extend` adds trials, `repeats` trains the best trials again with other
    seeds, and `retry` continues failed trials with the plan's settings.  Checkpoints and a copy of the log go to
    `storage`, a folder or URL, by default the sweep's own folder.  Without a cluster the sweep waits for free cores.

    Raises ConfigError if the name is taken (with `resume` or `extend`: unknown) or if no trial fits the resources;
    GensweepError if another process runs the sweep or the storage is not usable.
    """
    folder = SweepFolder(root, plan.name)
    folder.check_name(resume=resume or extend > 0 or retry is not None)
    folder.check_log()
    state = folder.state()
    trials: float = extend + (plan.search.most_trials if state.created is None else state.left)
    if repeats or plan.search.repeats or (state.repeats and not extend) or retry:
        trials = math.inf
    # Ray has its own SIGTERM handler while it starts; this one is set again afterwards.
    stop, local = threading.Event(), is_local()
    with (
        set_by(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        folder.locked(),
        ExitStack() as after_ray,
        removing_partial(folder.path),
        claimed_share(plan.name, plan.resources, stop, trials) if local else nullcontext() as share,
        connected(share.cpus if share else None),
        set_by(stop, signal.SIGTERM),
        ExitStack() as opened,
    ):
        from gensweep.run.nodes import Capacity

        after_ray.callback(remove_dead_scratch)  # workers may still be running when the sweep ends
        if local:
            _hand_on_no_keys()
        capacity = Capacity(plan.resources)
        _check_paths(plan)
        held = opened.enter_context(held_storage(folder, storage, plan.settings))
        if retry is not None:
            retry.check(folder)
            held.change_settings(folder, plan.settings)
        more: dict[str, Any] = {"more_trials": extend, "repeats": repeats, "retry": retry, "storage": held}
        session = Session(plan, folder, observers, concurrent=capacity.fit, deadline=deadline, **more)
        status: SweepStatus = "finished"
        error, again = None, True
        try:
            while again and session.state.left and not stop.is_set() and not session.stop_reason:
                again = _tune(plan, folder, held, session, capacity, stop)
        except Exception as problem:
            status, error = "failed", _describe(problem, folder)
        if session.time_is_up:
            session.end_search()
        elif stop.is_set() and session.state.left:
            status = "interrupted"
        elif status == "finished" and session.stop_reason:
            status, error = "failed", session.stop_reason
        session.note(SessionEnded(status, error))
        return SweepResult(folder.path, session.state, None if held.own else held.root)


def _check_paths(plan: SweepPlan) -> None:
    """Raises ConfigError for relative paths if trials may train on other machines."""
    from gensweep.run.nodes import addable_nodes, living_nodes

    if plan.relative_paths and (addable_nodes() or len({node["NodeManagerHostname"] for node in living_nodes()}) > 1):
        why = "a relative path differs between machines; use an absolute path or a URL such as s3://bucket/x"
        raise ConfigError([f"{path}: {why}" for path in plan.relative_paths])


def _describe(problem: Exception, folder: SweepFolder) -> str:
    """An error in one line; the traceback of an unexpected one goes to the driver's log."""
    if isinstance(problem, GensweepError):
        return str(problem)
    line = file_problem(problem, folder.path) or f"{type(problem).__name__}: {problem}".splitlines()[0]
    try:
        return f"{line}; traceback: {folder.write_log('driver', traceback.format_exc())}"
    except OSError:
        return line  # the disk may be full


def _tune(
    plan: SweepPlan,
    folder: SweepFolder,
    storage: HeldStorage,
    session: Session,
    capacity: Capacity,
    stop: threading.Event,
) -> bool:
    """Run the remaining trials.  True if Tune gave up because Ray killed a trial for lack of memory."""
    import ray
    import ray.exceptions
    from ray import tune

    from gensweep.run.messages import TrialSettings, WithPlugins
    from gensweep.run.nodes import drivers_node_resource
    from gensweep.run.trial import Bell, SweepTrial
    from gensweep.run.tuning import SessionCallback, SessionSearcher, SessionStopper, Watch

    asked, book = plan.resources, folder.path / "ray"
    here = drivers_node_resource()
    bell: Any = ray.remote(Bell).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, resources=here).remote()
    alone = asked.worker_counts[0] == 1
    request = bundle(asked) if alone else {"CPU": 0, **here}
    with scratch_folder(plan.name) as scratch:
        settings = TrialSettings(
            storage.sweep_id,
            WithPlugins(plan.job),
            asked.worker_counts,
            bundle(asked),
            storage.root,
            storage.own,
            scratch,
            bell,
        )
        watch = Watch(session, asked.stall_timeout)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(SweepTrial, settings=settings), request),
            tune_config=tune.TuneConfig(
                search_alg=SessionSearcher(session, capacity, watch, stop),
                num_samples=-1,  # the searcher ends the sweep; Tune counts each resumed trial as a new one
                reuse_actors=alone,
                trial_dirname_creator=lambda trial: f"{trial.config.get('trial')}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{len(list(book.glob('session-*'))):03d}",
                storage_path=str(book),
                callbacks=[SessionCallback(session, watch)],
                stop=SessionStopper(stop, session, watch, bell),
                failure_config=tune.FailureConfig(max_failures=-1),  # the session limits the failures of a trial
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except RuntimeError as error:
            if not isinstance(error.__cause__, ray.exceptions.RayError):
                raise
            watch.all_lost(error)
            return True
        finally:
            ray.kill(bell)
            if not alone:
                from gensweep.run.group import free_groups, mark

                free_groups(*(mark(storage.sweep_id, trial) for trial in session.state.trials))
    return False


def _hand_on_no_keys() -> None:
    """Keep the AWS keys, which Tune would pass to its actors, out of Ray's log."""
    from ray.tune.execution import class_cache

    handed_on: set[str] = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set())
    handed_on -= {name for name in handed_on if name.startswith("AWS_")}
