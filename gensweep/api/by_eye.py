"""Compare two runs by eye, blind: write the page that collects votes, and keep votes with the sweeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gensweep.api.verdicts import rank
from gensweep.build.model import load_checkpoint
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import parse_json, write_text
from gensweep.report.by_eye import preferences
from gensweep.report.html import encode, environment, script_of, write_whole
from gensweep.report.output import progress_bar
from gensweep.run.near_gpus import SentPath, run_near_gpus
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import VOTES_FOLDER, SweepFolder
from gensweep.sweep.stored_sweeps import find_trial, read_sweep, trial_checkpoint
from gensweep.sweep.trial_state import TrialState
from gensweep.training.checkpoint import Checkpoint, read
from gensweep.training.result_files import tiles_of
from gensweep.verdict.preference import Ballot, Preference

#: Pairs of a page, and images in a row of its square grids.
PAIRS, COLUMNS = 20, 4
#: Seed of the images; seed 0 is that of the evaluations, which have chosen the checkpoints.
SEED = 1
_VOTER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Entrant:
    """A run, and the folder and content of its checkpoint."""

    trial: TrialState
    folder: Path
    checkpoint: Checkpoint

    @property
    def sweep(self) -> SweepFolder:
        """The folder of its sweep."""
        assert self.trial.folder is not None
        return self.trial.folder

    @property
    def has_random_classes(self) -> bool:
        """True if it was trained without the labels of its images."""
        return len(self.checkpoint.class_names) > 1 and not self.checkpoint.metadata["family"].get("conditional", True)


@dataclass(frozen=True)
class Contest:
    """Two runs, in the order of their checkpoints' hashes, and the seed of the images."""

    runs: tuple[Entrant, Entrant]
    seed: int

    @property
    def page(self) -> str:
        """The id of the page."""
        return self._digest[:8].hex()

    @property
    def first_left(self) -> tuple[bool, ...]:
        """True for pairs with the first run on the left: at random one of each two pairs.

        These are other bytes of the hash than the id, so that the page does not reveal the sides.
        """
        return tuple(bool((self._digest[8 + pair // 2] ^ pair) & 1) for pair in range(PAIRS))

    @property
    def _digest(self) -> bytes:
        parts = [*(run.checkpoint.sha256 for run in self.runs), self.seed, PAIRS, COLUMNS]
        return hashlib.sha256(json.dumps(parts).encode()).digest()


def contest(first: str, second: str, *, root: Path = SWEEPS, seed: int = SEED) -> Contest:
    """The comparison of two runs: SWEEP/TRIAL, or SWEEP for its recommended trial.

    Raises ConfigError without two checkpoints on like data, NothingToCompareError for a sweep without a score.
    """
    trials = [_trial(first, root), _trial(second, root)]
    try:
        folders = [trial_checkpoint(trial) for trial in trials]
    except GensweepError as error:
        raise ConfigError(str(error)) from None
    found = (Entrant(trial, folder, read(folder)) for trial, folder in zip(trials, folders, strict=True))
    one, other = sorted(found, key=lambda run: run.checkpoint.sha256)
    names = f"{one.trial.name} and {other.trial.name}"
    if one.checkpoint.sha256 == other.checkpoint.sha256:
        raise ConfigError(f"{names} have the same checkpoint; name two different runs")
    for key, word in (("shape", "size"), ("class_names", "classes")):
        if getattr(one.checkpoint, key) != getattr(other.checkpoint, key):
            raise ConfigError(f"{names} draw images of another {word}; name two runs on the same data")
    return Contest((one, other), seed)


def write_page(found: Contest, file: Path) -> None:
    """Draw the images of both runs, and write the page.  Raises GensweepError if it cannot be written."""
    sides = [run_near_gpus(draw_grids, SentPath(run.folder), run.trial.name, found.seed) for run in found.runs]
    pairs = [
        pair if left else pair[::-1] for pair, left in zip(zip(*sides, strict=True), found.first_left, strict=True)
    ]
    template = environment().get_template("by_eye.html.j2")
    page = template.render(page=found.page, pairs=pairs, **script_of("by_eye.js"))
    write_whole(file, page, "name another file: --by-eye FILE")


def draw_grids(folder: Path, name: str, seed: int) -> list[str]:
    """Grids of the first images of a seed by the model in a checkpoint folder, as data URLs."""
    from torchvision.utils import make_grid

    count = PAIRS * COLUMNS**2
    with progress_bar(name, count) as show:
        images = load_checkpoint(folder).sample(count, seed=seed, progress=lambda done, _: show(done))
    grids = (make_grid(tiles_of(each), nrow=COLUMNS, padding=0) for each in images.split(COLUMNS**2))
    return [encode(Image.fromarray(grid.permute(1, 2, 0).numpy())) for grid in grids]


def keep_votes(found: Contest, files: Sequence[Path]) -> Preference:
    """Add the votes in files to those that the sweeps hold; the result of all of them.

    Raises ConfigError with one line per file that is damaged, without votes, or for another page; none is kept then.
    """
    problems, ballots = list[str](), list[Ballot]()
    first, second = (f"{run.sweep.sweep_id}/{run.trial.trial}" for run in found.runs)
    for file in files:
        try:
            values = parse_json(file.read_bytes())
            page, voter, votes = values["page"], values["voter"], tuple(values["votes"])
            valid = _VOTER.fullmatch(voter) and len(votes) <= PAIRS and all(vote in (0, 1, 2) for vote in votes)
        except OSError as error:
            problems.append(f"{file} cannot be read ({error.strerror})")
        except (ValueError, KeyError, TypeError):
            problems.append(f"{file} is damaged, or was not saved by a page of --by-eye")
        else:
            ballots.append(Ballot(page, voter, (first, second), found.first_left, votes, found.seed))
            if page != found.page:
                names = " and ".join(run.trial.name for run in found.runs)
                problems.append(f"{file} has votes of another page than that of {names} and their present checkpoints")
            elif not votes or not valid:
                problems.append(f"{file} {'is damaged' if votes else 'has no votes'}; save it again from the page")
    if problems:
        raise ConfigError(problems)
    sweeps = {run.sweep.path: run.sweep for run in found.runs}.values()
    for ballot in ballots:
        for sweep in sweeps:
            write_text(sweep.path / VOTES_FOLDER / f"{ballot.page}-{ballot.voter}.json", json.dumps(ballot.as_dict()))
    return preferences(map(read_sweep, sweeps))[found.page]


def _trial(run: str, root: Path) -> TrialState:
    trial = find_trial(run, root)
    return trial if run.endswith(f"/{trial.trial}") else rank(run, root=root).recommended
