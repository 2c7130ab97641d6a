"""Compare two runs by eye, blind: write the page that collects votes, and keep votes with the sweeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gensweep.api.verdicts import rank
from gensweep.build.model import load_checkpoint
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import parse_json, write_problem, write_text
from gensweep.report.by_eye import preferences
from gensweep.report.html import encode, environment, script_of, write_whole
from gensweep.report.output import progress_bar
from gensweep.run.near_gpus import SentPath, run_near_gpus
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import VOTES_FOLDER, SweepFolder
from gensweep.sweep.stored_sweeps import find_trial, trial_checkpoint
from gensweep.sweep.trial_state import TrialState
from gensweep.training.checkpoint import Checkpoint, read
from gensweep.training.result_files import tiles_of
from gensweep.verdict.preference import Ballot, Preference

#: Pairs of a page, and images in a row of its square grids.
PAIRS, COLUMNS = 20, 4
#: Seed of the images; seed 0 is that of the evaluations, which have chosen the checkpoints.
SEED = 1
_VOTER = re.compile(r"[0-9a-f]{16}")


class Entrant(NamedTuple):
    """A run, the folder of its sweep, and its best checkpoint in a folder."""

    trial: TrialState
    sweep: SweepFolder
    folder: Path
    checkpoint: Checkpoint

    @property
    def has_random_classes(self) -> bool:
        """True if it was trained without the labels of its data."""
        return len(self.checkpoint.class_names) > 1 and not self.checkpoint.metadata["family"].get("conditional", True)


def entrants(*runs: str, root: Path = SWEEPS) -> list[Entrant]:
    """Two runs, SWEEP/TRIAL or SWEEP (its recommended trial), in the order of their checkpoints' hashes.

    Raises ConfigError unless they have different checkpoints for images of the same size and classes.
    """
    found = []
    for run in runs:
        trial = find_trial(run, root)
        trial = trial if run.endswith(f"/{trial.trial}") else rank(run, root=root).recommended
        try:
            folder = trial_checkpoint(trial)
            checkpoint = read(folder)
        except GensweepError as error:
            raise ConfigError(str(error)) from None
        assert trial.folder is not None
        found.append(Entrant(trial, trial.folder, folder, checkpoint))
    found.sort(key=lambda run: run.checkpoint.sha256)
    one, other = (run.checkpoint for run in found)
    names = " and ".join(run.trial.name for run in found)
    if one.shape != other.shape or one.class_names != other.class_names:
        raise ConfigError(f"{names} draw images of different sizes or classes; name runs on the same data")
    if one.sha256 == other.sha256:
        raise ConfigError(f"{names} have the same checkpoint; name two different runs")
    return found


def page_of(hashes: Sequence[str], seed: int = SEED) -> tuple[str, tuple[bool, ...]]:
    """The id of the page about two checkpoints, and for each pair, true if the first one is on the left.

    The sides are random, and opposite in each two pairs.  They are other bytes of the hash than the id, so that the
    page does not reveal them.
    """
    digest = hashlib.sha256(json.dumps([*hashes, seed, PAIRS, COLUMNS]).encode()).digest()
    return digest[:8].hex(), tuple(bool((digest[8 + pair // 2] ^ pair) & 1) for pair in range(PAIRS))


def write_page(runs: Sequence[Entrant], file: Path) -> None:
    """Draw the images of both runs and write the page.  Raises GensweepError if it cannot be written."""
    if (problem := write_problem(file.parent)) is not None:
        raise GensweepError(f"--by-eye {file}: {problem}")
    page, first_left = page_of([run.checkpoint.sha256 for run in runs])
    grids = [run_near_gpus(draw_grids, SentPath(run.folder), run.trial.name) for run in runs]
    pairs = [pair if left else pair[::-1] for *pair, left in zip(*grids, first_left, strict=True)]
    template = environment().get_template("by_eye.html.j2")
    write_whole(file, template.render(page=page, pairs=pairs, **script_of("by_eye.js")), "name another file")


def draw_grids(folder: Path, name: str) -> list[str]:
    """Grids of the first images by the model in a checkpoint folder, as data URLs."""
    from torchvision.utils import make_grid

    count, size = PAIRS * COLUMNS**2, COLUMNS**2
    with progress_bar(name, count) as show:
        images = load_checkpoint(folder).sample(count, seed=SEED, progress=lambda done, _: show(done))
    grids = (make_grid(tiles_of(images[at : at + size]), nrow=COLUMNS, padding=0) for at in range(0, count, size))
    return [encode(Image.fromarray(grid.permute(1, 2, 0).numpy())) for grid in grids]


def keep_votes(runs: Sequence[Entrant], files: Sequence[Path]) -> Preference:
    """Add votes to those that the sweeps hold; returns the result of all.

    Raises ConfigError with one line per file that is damaged, empty, or of another page; then none is kept.
    """
    page, first_left = page_of([run.checkpoint.sha256 for run in runs])
    first, second = (f"{run.sweep.sweep_id}/{run.trial.trial}" for run in runs)
    problems, ballots = list[str](), list[Ballot]()
    for file in files:
        try:
            values = parse_json(file.read_bytes())
            ballot = Ballot(values["page"], values["voter"], (first, second), first_left, tuple(values["votes"]), SEED)
            valid = _VOTER.fullmatch(ballot.voter) and all(vote in (0, 1, 2) for vote in ballot.votes)
        except (OSError, ValueError, KeyError, TypeError):
            valid = None
        if not valid or len(ballot.votes) > PAIRS:
            problems.append(f"{file} is damaged, or not saved by a page of --by-eye")
        elif ballot.page != page:
            names = " and ".join(run.trial.name for run in runs)
            problems.append(f"{file} is of another page than that of {names} and their present checkpoints")
        elif not ballot.votes:
            problems.append(f"{file} has no votes")
        else:
            ballots.append(ballot)
    if problems:
        raise ConfigError(problems)
    for ballot in ballots:
        for run in runs:
            file = run.sweep.path / VOTES_FOLDER / f"{page}-{ballot.voter}.json"
            write_text(file, json.dumps(ballot.as_dict()))
    return preferences(run.sweep for run in runs)[page]
