"""TensorBoard and Weights & Biases, the `observers` of a sweep: each trial is a run there, updated while it trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gensweep.config.sweep_config import ObserverKind
from gensweep.errors import ConfigError
from gensweep.sweep.events import Ended, Evaluated, Event, Progressed
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState


class Loggers:
    """Observer with a run for each trial that has results.  Call `close` after the sweep."""

    def __init__(self, open_board: Callable[[SweepState, TrialState], _TensorBoard | _WandbRun]) -> None:
        self._open_run = open_board
        self._runs: dict[str, _TensorBoard | _WandbRun] = {}
        self._state = SweepState()

    def __call__(self, event: Event, state: SweepState) -> None:
        """Forward metrics and ends."""
        self._state = state
        match event:
            case Progressed():
                self._run(event.trial).log(event.images, event.numbers)
            case Evaluated():
                self._run(event.trial).log(event.evaluation.images, event.evaluation.numbers())
            case Ended() if event.trial in self._runs:
                self._runs.pop(event.trial).close(state.trials[event.trial])

    def close(self) -> None:
        """Close the open runs."""
        for name, run in self._runs.items():
            run.close(self._state.trials[name])

    def _run(self, name: str) -> _TensorBoard | _WandbRun:
        if name not in self._runs:
            self._runs[name] = self._open_run(self._state, self._state.trials[name])
        return self._runs[name]


def loggers_of(kind: ObserverKind, folder: SweepFolder) -> Loggers:
    """The observer of that kind.  Raises ConfigError if its program would ask for a login."""
    if kind == "tensorboard":
        return Loggers(partial(_TensorBoard, folder.path / "tensorboard"))
    import wandb

    if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and not wandb.login(prompt=False):
        raise ConfigError("observers: wandb has no key on this machine; run: wandb login, or set WANDB_MODE=offline")
    return Loggers(partial(_WandbRun, folder.path))


class _TensorBoard:
    """A folder of TensorBoard's files: scalars by training images, and at the end settings with the objective."""

    def __init__(self, root: Path, state: SweepState, trial: TrialState) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(root / trial.trial))

    def log(self, images: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, images)
        self._writer.flush()

    def close(self, trial: TrialState) -> None:
        if trial.score is not None:
            params = trial.params.items()
            plain = {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in params}
            self._writer.add_hparams(plain | {"status": trial.status}, {"objective": trial.score.value}, run_name=".")
        self._writer.close()


class _WandbRun:
    """A run in the project `gensweep`, or $WANDB_PROJECT, grouped by sweep; a resumed trial is the same run."""

    def __init__(self, folder: Path, state: SweepState, trial: TrialState) -> None:
        import wandb

        created = state.created
        assert created is not None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gensweep"),
            group=created.name,
            name=f"{created.name}/{trial.trial}",
            id=f"{created.sweep_id[:8]}-{trial.trial}",
            config=dict(trial.params),
            dir=str(folder),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, images: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=images)

    def close(self, trial: TrialState) -> None:
        config: Any = self._run.config
        config.update(dict(trial.params), allow_val_change=True)
        objective = None if trial.score is None else trial.score.value
        self._run.summary.update({"status": trial.status, "objective": objective})
        self._run.finish(exit_code=int(trial.status == "failed"))
