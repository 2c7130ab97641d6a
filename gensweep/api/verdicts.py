"""Results of sweeps from Python: trials and models, the best trial, and the verdict across sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.config.prices import Price, parse_price
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.report.commands import refuse_unlike
from gensweep.report.export import comparison_json, entry_json, trials_json
from gensweep.report.html import write_report
from gensweep.report.verdict import format_verdict
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.stored_sweeps import find_sweep, load_sweeps, sweep_config
from gensweep.sweep.trial_state import TrialState
from gensweep.verdict.amounts import parse_amount
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.comparison import compare as compare_sweeps
from gensweep.verdict.recommendation import Recommendation, recommend

if TYPE_CHECKING:
    import torch
    from pandas import DataFrame

    from gensweep.build.model import Model


@dataclass(frozen=True)
class Verdict:
    """The trials of one or several sweeps, best first, and the verdict on them."""

    comparison: Comparison
    judged: Recommendation

    @property
    def best_score(self) -> TrialState:
        """The trial with the best score."""
        return self.judged.best_score.trial

    @property
    def recommended(self) -> TrialState:
        """The recommended trial for the budget."""
        return self.judged.recommended.trial

    @property
    def words(self) -> str:
        """The verdict as text: the recommendation, its certainty, and caveats."""
        return format_verdict(self.comparison, self.judged)

    @property
    def too_close(self) -> bool:
        """True if the trials cannot be told apart."""
        return self.judged.too_close

    def as_dict(self) -> dict[str, Any]:
        """The content of `gensweep best --compare --format json`."""
        return comparison_json(self.comparison, self.judged)

    def table(self) -> DataFrame:
        """The ranked trials, one per row, best first; columns are the dotted keys of `entries` in `as_dict`."""
        return _table([entry_json(entry) for entry in self.comparison.entries])

    def write_html(self, file: str | Path) -> None:
        """Write the report, a single file that works offline."""
        write_report(self.comparison, self.judged, Path(file))


def compare(
    *sweeps: str,
    budget: str | None = None,
    draw: int = 0,
    price: str | None = None,
    panel: bool = False,
    root: str | Path = SWEEPS,
) -> Verdict:
    """Rank the trials of sweeps, by default of all, and recommend one: `gensweep best --compare`.

    `budget` is that of one training, such as "10min" or "2e13flops", by default the largest that all sweeps reached;
    it also pays for `draw` images.  `price` is that of an hour of one device, such as "2.50EUR/h".  A
    `panel` first scores the recommended trial and the runner-up by measures of other kinds, unless the log has these
    scores.  Raises GensweepError if no trial has a score, or if scores are not comparable.
    """
    amount = None if budget is None else parse_amount(budget)
    comparison = compare_sweeps(load_sweeps(sweeps, Path(root)))
    if sweeps:
        refuse_unlike(comparison)
    judged = replace(recommend(comparison, amount, draw), price=known_price(comparison, price))
    if panel and judged.runner_up is not None:
        from gensweep.rescoring.sampling_axes import rescore

        for trial in (
            each for entry in (judged.recommended, judged.runner_up) for each in comparison.trainings(entry.trial)
        ):
            if trial.checkpoint is not None:
                rescore(trial, {}, panel=True)
        return compare(*sweeps, budget=budget, draw=draw, price=price, root=root)
    return Verdict(comparison, judged)


def best(sweep: str | None = None, *, root: str | Path = SWEEPS) -> TrialState:
    """The trial with the best score: `gensweep best`.  Raises NothingToCompareError if no trial has a score."""
    return rank(sweep, root=root).best_score


def trials(sweep: str | None = None, *, root: str | Path = SWEEPS) -> DataFrame:
    """The trials of a sweep, by default the newest, one per row: `gensweep trials`.

    Columns are `trial`, `family`, `status`, `objective`, `images`, `error`, and `params.KEY` and
    `signals.KEY` for each searched setting and each signal.
    """
    return _table(trials_json(find_sweep(sweep, Path(root))))


def rank(sweep: str | None = None, *, root: str | Path = SWEEPS) -> Verdict:
    """The verdict on one sweep, by default the newest.  Raises NothingToCompareError if no trial has a score."""
    comparison = compare_sweeps([find_sweep(sweep, Path(root))])
    return Verdict(comparison, recommend(comparison))


def known_price(comparison: Comparison, asked: str | None = None) -> Price | None:
    """The typed price, else the common one in the files of the sweeps.  Raises ConfigError."""
    if asked is not None:
        try:
            return parse_price(asked)
        except ValueError as error:
            raise ConfigError(f"--price: {error}") from None
    found, *others = {sweep_config(sweep).get("resources", {}).get("price") for sweep in comparison.sweeps}
    return None if others or found is None else parse_price(found)


def load(
    run: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model of a run, ready to sample: "sweep/t0004", "sweep" (its best score), a folder, or a registered model.

    `overrides` change settings of sampling.  `weights` are by default the evaluated ones, else "raw" or a multiple of
    the average's half-life, such as "0.25".  Raises GensweepError if there is no such model.
    """
    from gensweep.build.model import load_checkpoint
    from gensweep.tracking.checkpoints import checkpoint_folder

    return load_checkpoint(checkpoint_folder(run), overrides=overrides, weights=weights, device=device)


def _table(rows: list[dict[str, Any]]) -> DataFrame:
    import pandas

    return pandas.DataFrame.from_records([dict(flatten(row)) for row in rows])
