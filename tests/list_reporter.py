"""A reporter that keeps what a trial reports."""

from dataclasses import dataclass, field
from pathlib import Path

from gensweep.results import Evaluation
from gensweep.training.trial import StopTrial


@dataclass
class ListReporter:
    """Keeps all reports, and stops the trial after `stop_after` checkpoints, if given."""

    stop_after: int | None = None
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    paces: list[tuple[int, float]] = field(default_factory=list)
    checkpoints: list[tuple[Evaluation, Path]] = field(default_factory=list)

    def progress(self, images, numbers):
        self.reports.append((images, dict(numbers)))

    def paced(self, images, images_per_second):
        self.paces.append((images, images_per_second))

    def evaluated(self, evaluation, folder):
        self.checkpoints.append((evaluation, folder))
        if len(self.checkpoints) == self.stop_after:
            raise StopTrial
