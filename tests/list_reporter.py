"""A reporter that keeps what a trial reports."""

from dataclasses import dataclass, field
from pathlib import Path

from gensweep.results import Evaluation
from gensweep.training.reporter import StopTrial


@dataclass
class ListReporter:
    """Keeps all reports, and stops the trial after `stop_after` checkpoints, if given.

    `wants` are the questions, counted from 0, at which it wants a checkpoint.
    """

    stop_after: int | None = None
    wants: frozenset[int] = frozenset()
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    paces: list[tuple[int, float]] = field(default_factory=list)
    saves: list[tuple[int, Path]] = field(default_factory=list)
    asked: int = 0
    checkpoints: list[tuple[Evaluation, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def progress(self, images, numbers):
        self.reports.append((images, dict(numbers)))

    def paced(self, images, images_per_second):
        self.paces.append((images, images_per_second))

    def checkpoint_wanted(self):
        self.asked += 1
        return self.asked - 1 in self.wants

    def saved(self, images, folder):
        self.saves.append((images, folder))

    def moved(self, phase=None):
        pass

    def note(self, text):
        self.notes.append(text)

    def evaluated(self, evaluation, folder):
        self.checkpoints.append((evaluation, folder))
        if len(self.checkpoints) == self.stop_after:
            raise StopTrial
