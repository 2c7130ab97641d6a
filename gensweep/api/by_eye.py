"""Compare two runs by eye, blind: write the page that collects votes, and keep votes with the sweeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
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
from gensweep.sweep.folder import VOTES_FOLDER
from gensweep.sweep.stored_sweeps import find_trial, trial_checkpoint
from gensweep.sweep.trial_state import TrialState
from gensweep.training.checkpoint import read
from gensweep.training.result_files import tiles_of
from gensweep.verdict.preference import Ballot, Preference

#: Pairs of a page, and images in a row of its square grids.
PAIRS, COLUMNS = 20, 4
#: Seed of the images; seed 0 is that of the evaluations, which have chosen the checkpoints.
SEED = 1
_VOTER = re.compile(r"[0-9a-f]{16}")


def find_pair(*names: str, root: Path = SWEEPS) -> dict[str, TrialState]:
    """Two runs, SWEEP/TRIAL or SWEEP (its recommended trial), sorted by the hashes of their checkpoints, the keys.

    Raises ConfigError unless they have different checkpoints for images of the same size and classes.
    """
    found, kinds = dict[str, TrialState](), set[tuple[object, ...]]()
    for name in names:
        trial = find_trial(name, root)
        trial = trial if name.endswith(f"/{trial.trial}") else rank(name, root=root).recommended
        try:
            checkpoint = read(trial_checkpoint(trial))
        except GensweepError as error:
            raise ConfigError(str(error)) from None
        found[checkpoint.sha256] = trial
        kinds.add((checkpoint.shape, checkpoint.class_names))
    if len(found) < 2 or len(kinds) > 1:
        what = "have the same checkpoint" if len(found) < 2 else "draw images of different sizes or classes"
        raise ConfigError(f"{' and '.join(names)} {what}; name two runs on the same data")
    return dict(sorted(found.items()))


def page_of(hashes: Iterable[str], seed: int = SEED) -> tuple[str, tuple[bool, ...]]:
    """The id of the page about two checkpoints, and for each pair, true if the first one is on the left.

    The sides are random, and opposite in each two pairs.  They are other bytes of the hash than the id, so that the
    page does not reveal them.
    """
    digest = hashlib.sha256(json.dumps([*hashes, seed, PAIRS, COLUMNS]).encode()).digest()
    return digest[:8].hex(), tuple(bool((digest[8 + pair // 2] ^ pair) & 1) for pair in range(PAIRS))


def write_page(runs: Mapping[str, TrialState], file: Path) -> list[str]:
    """Draw the images of both runs and write the page; returns the names of runs that do not know the classes.

    Raises GensweepError if the page cannot be written.
    """
    page, first_left = page_of(runs)
    drawn = [run_near_gpus(draw_grids, SentPath(trial_checkpoint(each)), each.name) for each in runs.values()]
    sides = zip(*(grids for grids, _ in drawn), first_left, strict=True)
    pairs = [pair if left else pair[::-1] for *pair, left in sides]
    template = environment().get_template("by_eye.html.j2")
    write_whole(file, template.render(page=page, pairs=pairs, **script_of("by_eye.js")), "name another file")
    return [trial.name for trial, (_, by_class) in zip(runs.values(), drawn, strict=True) if not by_class]


def draw_grids(folder: Path, name: str) -> tuple[list[str], bool]:
    """Grids of the first images by the model in a folder, as data URLs; false if it ignores the classes."""
    from torchvision.utils import make_grid

    model, count, size = load_checkpoint(folder), PAIRS * COLUMNS**2, COLUMNS**2
    with progress_bar(name, count) as show:
        images = model.sample(count, seed=SEED, progress=lambda done, _: show(done))
    grids = (make_grid(tiles_of(images[at : at + size]), nrow=COLUMNS, padding=0) for at in range(0, count, size))
    urls = [encode(Image.fromarray(grid.permute(1, 2, 0).numpy())) for grid in grids]
    return urls, model.family.classes > 0 or len(model.class_names) < 2


def keep_votes(runs: Mapping[str, TrialState], files: Sequence[Path]) -> Preference:
    """Add votes to the earlier ones of the sweeps; returns the result of all.

    Raises ConfigError with one line per file that is damaged, empty, or of another page; then none is kept.
    """
    page, first_left = page_of(runs)
    folders = [trial.folder for trial in runs.values() if trial.folder is not None]
    first, second = (f"{at.sweep_id}/{trial.trial}" for at, trial in zip(folders, runs.values(), strict=True))
    problems, ballots = list[str](), list[Ballot]()
    for file in files:
        try:
            values = parse_json(file.read_bytes())
            ballot = Ballot(values["page"], values["voter"], (first, second), first_left, tuple(values["votes"]), SEED)
            if not _VOTER.fullmatch(ballot.voter) or not set(ballot.votes) <= {0, 1, 2} or len(ballot.votes) > PAIRS:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            problems.append(f"{file} is missing, damaged, or not saved by a page of --by-eye")
            continue
        ballots.append(ballot)
        if ballot.page != page or not ballot.votes:
            names = " and ".join(trial.name for trial in runs.values())
            another = f"is of another page than that of {names} and their present checkpoints"
            problems.append(f"{file} {another if ballot.page != page else 'has no votes'}")
    if problems:
        raise ConfigError(problems)
    for folder, ballot in product(folders, ballots):
        write_text(folder.path / VOTES_FOLDER / f"{page}-{ballot.voter}.json", json.dumps(ballot.as_dict()))
    return preferences(folders)[page]
