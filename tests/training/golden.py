"""First losses of fixed, tiny trainings.  A change of golden.json is a change of everybody's numbers: say why.

.venv/bin/python tests/training/golden.py     writes golden.json anew
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.training.loop import train

FILE = Path(__file__).with_name("golden.json")
KINDS = [f"{kind}{' conditional' * conditional}" for kind in FAMILIES for conditional in (False, True)]


def losses(name):
    """Losses of the first eight batches."""
    kind, _, conditional = name.partition(" ")
    # Masks of dropout come from torch's own generator, whose numbers may change with its version.
    network = tiny.network(kind, dropout=0.0)
    learner = tiny.learner(kind, conditional=bool(conditional), log_every=8, family={"network": network})
    events = filter(None, train(learner, Loader(tiny.images(), seed=3)))
    rounded = [{n: round(v, 6) for n, v in event.losses.items()} for event in events]
    return {key: [each[key] for each in rounded] for key in rounded[0]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps({name: losses(name) for name in KINDS}, indent=1).replace(",\n   ", ", ") + "\n")
