"""Whether bfloat16 features score models as float32 features do: bias and rank correlation over trained models.

    .venv/bin/python benchmarks/extractor_precision.py search_spaces/quickstart.yaml --trials 16
    .venv/bin/python benchmarks/extractor_precision.py experiments/compute/compute_gan.yaml --scale horses --trials 12

Trains the trials with `gensweep tune`, each to an end, and scores the best checkpoint of each with several seeds, in
both precisions, by the product's own rescorer.  The bias of a score, bfloat16 less float32, is told in standard errors
of the float32 score; beside it stands how far two seeds lie apart in float32, which is what any score carries.  Rank
correlations are Spearman's, over models, between precisions and between seeds.

Prints a table and writes benchmarks/results/extractor_precision-DATE-PROCESSOR-SPACE.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from dated_results import write_result
from scipy.stats import spearmanr

from gensweep.rescoring.rescorer import Rescorer
from gensweep.results import Score

SEEDS = 3
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")


def scores_of(checkpoint: Path) -> tuple[list[dict[str, Score]], dict[str, float]]:
    """The scores of a model, by seed and precision, and the seconds that scoring took in each."""
    found: list[dict[str, Score]] = [{} for _ in range(SEEDS)]
    seconds = dict.fromkeys(PRECISIONS, 0.0)
    for precision in PRECISIONS:
        for seed in range(SEEDS):
            changed = {"evaluation.extractor.precision": precision}
            model = Rescorer(checkpoint, seed=seed + 1, changed=changed, device="cpu")
            (outcome,) = model.run(model.configs())
            (found[seed][precision],) = outcome.scores.values()
            seconds[precision] += outcome.evaluate_seconds
    return found, seconds


def summary(models: list[list[dict[str, Score]]]) -> dict[str, Any]:
    """Biases and rank correlations over models."""
    value = {each: np.array([[seed[each].value for seed in seeds] for seeds in models]) for each in PRECISIONS}
    errors = np.array([[seed["float32"].error for seed in seeds] for seeds in models], float)
    bias = (value["bfloat16"] - value["float32"]) / errors
    apart = (value["float32"] - np.roll(value["float32"], 1, 1)) / errors
    ranks = {
        "between_precisions": [spearmanr(value["float32"][:, s], value["bfloat16"][:, s])[0] for s in range(SEEDS)],
        "between_seeds": [spearmanr(value["float32"][:, s], value["float32"][:, s - 1])[0] for s in range(SEEDS)],
    }
    winners = [int(value[each][:, s].argmin()) for s in range(SEEDS) for each in PRECISIONS]
    return {
        "models": len(models),
        "scores_from_to": [float(value["float32"].min()), float(value["float32"].max())],
        "bias_in_errors": {
            "mean": float(bias.mean()),
            "largest": float(np.abs(bias).max()),
            "between_seeds_mean_size": float(np.abs(apart).mean()),
        },
        "bias_in_percent_largest": float(100 * np.abs(value["bfloat16"] / value["float32"] - 1).max()),
        "rank_correlation": {name: round(float(np.min(each)), 4) for name, each in ranks.items()},
        "same_winner": sum(winners[::2][s] == winners[1::2][s] for s in range(SEEDS)) / SEEDS,
    }


@click.command(context_settings={"show_default": True})
@click.argument("space", type=click.Path(exists=True, path_type=Path))
@click.option("--scale", help="A scale of the space.", show_default=False)
@click.option("--trials", default=16)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="As in gensweep tune.")
def main(space: Path, scale: str | None, trials: int, changes: tuple[str, ...]) -> None:
    """Train models and score them in both precisions."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gensweep", "tune", str(space.resolve()), "--name", "scored"]
        command += ["--scale", scale] if scale else []
        for change in (f"search.trials={trials}", "rescore=false", "search.scheduler.kind=fifo", *changes):
            command += ["--set", change]
        subprocess.run(command, cwd=folder, check=True)
        checkpoints = sorted(file.parent for file in Path(folder).glob("sweeps/scored/checkpoints/*/*/checkpoint.json"))
        scored = [scores_of(checkpoint) for checkpoint in checkpoints]
    found = summary([seeds for seeds, _ in scored])
    found["scoring_seconds"] = {each: round(sum(seconds[each] for _, seconds in scored), 2) for each in PRECISIONS}
    print(json.dumps(found, indent=2))
    found["values"] = [[{each: seed[each].value for each in PRECISIONS} for seed in seeds] for seeds, _ in scored]
    write_result(
        "extractor_precision", "-".join(filter(None, (space.stem, scale))), space=space.name, scale=scale, **found
    )


if __name__ == "__main__":
    main()
