"""Other programs in which people watch trainings, `observers` in a sweep's YAML: each trial is a run there.

They get what happens while a session runs, as it happens.  MLflow alone is brought up to date from the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gensweep.config.sweep_config import ObserverKind
from gensweep.errors import ConfigError
from gensweep.sweep.events import Ended, Evaluated, Event, Progressed
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Digits of a sweep's id that tell runs of sweeps of one name apart.
SHORT_ID = 8


class Board(Protocol):
    """A trial in another program."""

    def log(self, images: int, numbers: Mapping[str, float]) -> None:
        """Take numbers after so many training images."""

    def close(self, status: str, objective: float | None) -> None:
        """The trial ended, or the session did; its best objective, if it has one."""


class Boards:
    """Observer that opens a board for each trial that reports something.  Call `close` after the sweep."""

    def __init__(self, open_board: Callable[[SweepState, TrialState], Board]) -> None:
        self._open_board = open_board
        self._boards: dict[str, Board] = {}
        self._state = SweepState()

    def __call__(self, event: Event, state: SweepState) -> None:
        """Hand on numbers and ends."""
        self._state = state
        match event:
            case Progressed():
                self._board(event.trial).log(event.images, event.numbers)
            case Evaluated():
                self._board(event.trial).log(event.evaluation.images, event.evaluation.numbers())
            case Ended() if event.trial in self._boards:
                self._close(event.trial)

    def close(self) -> None:
        """Close what is open."""
        for name in list(self._boards):
            self._close(name)

    def _board(self, name: str) -> Board:
        if name not in self._boards:
            self._boards[name] = self._open_board(self._state, self._state.trials[name])
        return self._boards[name]

    def _close(self, name: str) -> None:
        trial = self._state.trials[name]
        objective = None if trial.objective is None else trial.objective.value
        self._boards.pop(name).close(trial.status, objective)


def boards_of(kind: ObserverKind, folder: SweepFolder) -> Boards:
    """The observer of that kind.  Raises ConfigError if its program would ask for a login."""
    if kind == "tensorboard":
        return Boards(partial(_TensorBoard, folder.path / "tensorboard"))
    _check_login()
    return Boards(partial(_WandbRun, folder.path))


class _TensorBoard:
    """A folder of TensorBoard's files: scalars by training images, and at the end settings with the objective."""

    def __init__(self, root: Path, state: SweepState, trial: TrialState) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(root / trial.trial))
        self._settings = {key: _plain(value) for key, value in trial.params.items()}

    def log(self, images: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, images)
        self._writer.flush()

    def close(self, status: str, objective: float | None) -> None:
        if objective is not None:
            self._writer.add_hparams(self._settings | {"status": status}, {"objective": objective}, run_name=".")
        self._writer.close()


class _WandbRun:
    """A run in the project `gensweep`, or $WANDB_PROJECT, grouped by sweep; a trial that goes on is the same run."""

    def __init__(self, folder: Path, state: SweepState, trial: TrialState) -> None:
        import wandb

        created = state.created
        assert created is not None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gensweep"),
            group=created.name,
            name=f"{created.name}/{trial.trial}",
            id=f"{created.sweep_id[:SHORT_ID]}-{trial.trial}",
            config=dict(trial.params),
            dir=str(folder),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, images: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=images)

    def close(self, status: str, objective: float | None) -> None:
        self._run.summary.update({"status": status, "objective": objective})
        self._run.finish(exit_code=int(status == "failed"))


def _check_login() -> None:
    import wandb

    if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and not wandb.login(prompt=False):
        raise ConfigError("observers: wandb has no key on this machine; run: wandb login, or set WANDB_MODE=offline")


def _plain(value: Any) -> Any:
    """A setting as TensorBoard takes one."""
    return value if isinstance(value, bool | int | float | str) else str(value)
