"""What came out of sweeps, from Python: their trials, the best one, and the verdict across sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.compute.amounts import parse_amount
from gensweep.config.tree import flatten
from gensweep.report.budget_verdict import BudgetVerdict, judge
from gensweep.report.comparison import Comparison
from gensweep.report.comparison import compare as compare_sweeps
from gensweep.report.export import comparison_json, entry_json, trial_json
from gensweep.report.html import write_report
from gensweep.report.output import print_warnings
from gensweep.report.verdict import verdict_words
from gensweep.sweep.continuation import SWEEPS
from gensweep.tracking.records import SweepRecord, TrialRecord
from gensweep.tracking.runs import find_sweep, load_sweeps
from gensweep.tracking.store_check import check_server
from gensweep.tracking.sync import sync_all

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Verdict:
    """Trials of one or several sweeps, best first, and what to conclude from them."""

    comparison: Comparison
    judged: BudgetVerdict

    @property
    def winner(self) -> TrialRecord:
        """The trial to take."""
        return self.judged.winner.trial

    @property
    def words(self) -> str:
        """The verdict in sentences: who wins at which budget, how sure that is, and what the scores hide."""
        return verdict_words(self.comparison, self.judged)

    @property
    def too_close(self) -> bool:
        """Whether the trials cannot be told apart."""
        return self.judged.too_close

    def as_dict(self) -> dict[str, Any]:
        """What `gensweep best --compare --format json` prints."""
        return comparison_json(self.comparison, self.judged)

    def table(self) -> DataFrame:
        """The ranked trials, one a row, best first; columns are the dotted keys of `entries` in `as_dict`."""
        return _table([entry_json(entry) for entry in self.comparison.entries])

    def write_html(self, file: str | Path) -> None:
        """Write the report, one file that needs no network."""
        write_report(self.comparison, self.judged, Path(file))


def compare(*sweeps: str, budget: str | None = None, draw: int = 0, root: str | Path = SWEEPS) -> Verdict:
    """Rank the trials of sweeps, by default of all, and judge: `gensweep best --compare`.

    `budget` is what one training may spend, such as "10min" or "2e13flops", by default the largest that all reached;
    it also pays for drawing `draw` images.  Raises NothingToCompareError if no trial has a score, GensweepError for
    sweeps that cannot be compared.
    """
    amount = None if budget is None else parse_amount(budget)
    _bring_up_to_date(root)
    comparison = compare_sweeps(load_sweeps(sweeps), asked=bool(sweeps))
    return Verdict(comparison, judge(comparison, amount, draw))


def best(sweep: str | None = None, *, root: str | Path = SWEEPS) -> TrialRecord:
    """The best trial of a sweep, by default the newest: `gensweep best`.

    Raises NothingToCompareError if no trial has a score.
    """
    return rank(sweep, root=root).winner.trial


def trials(sweep: str | None = None, *, root: str | Path = SWEEPS) -> DataFrame:
    """The trials of a sweep, by default the newest, one a row: `gensweep trials`.

    Columns are `trial`, `run_id`, `family`, `status`, `objective`, `images`, `error`, and `params.KEY` and
    `signals.KEY` for each setting that was searched and each signal.
    """
    return _table([trial_json(trial) for trial in sweep_record(sweep, root=root).trials])


def rank(sweep: str | None = None, *, root: str | Path = SWEEPS) -> Comparison:
    """The trials of one sweep, by default the newest, best first.  Raises NothingToCompareError if none has a score."""
    return compare_sweeps([sweep_record(sweep, root=root)], asked=True)


def sweep_record(sweep: str | None = None, *, root: str | Path = SWEEPS) -> SweepRecord:
    """A sweep by its name or run id, by default the newest.  Raises GensweepError if there is none."""
    _bring_up_to_date(root)
    return find_sweep(sweep)


def _bring_up_to_date(root: str | Path) -> None:
    """Send what MLflow does not have of the sweeps in a folder; what it still lacks is a warning."""
    check_server()
    print_warnings(sync_all(Path(root)))


def _table(rows: list[dict[str, Any]]) -> DataFrame:
    import pandas

    return pandas.DataFrame.from_records([dict(flatten(row)) for row in rows])
