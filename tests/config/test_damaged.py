import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.config import load_sweep, load_trial
from gensweep.errors import ConfigError

TOKENS = [*"\t \n:[]{}'\"#?|", "", "\x00", "\u2028", "é"]
TOKENS += ["- ", "&a ", "*a", "!x ", "1e-4", "010", "no", ".nan", "null", "--- ", "<<: "]
TOKENS += ["kind", "choice", "int", "99999999999999999999", "-1"]


def problems_of(load, file, **options):
    """What is said about a file that is refused; nothing about one that is read."""
    try:
        load(file, **options)
    except ConfigError as error:
        return error.problems or [""]
    return []


@pytest.mark.trains
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["ddpm", "dcgan", "quickstart"]))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, seed, name):
    chance = random.Random(seed)
    text = Path(__file__).parents[2].joinpath("search_spaces", f"{name}.yaml").read_text()
    text = text[text.index("name:") :]
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(TOKENS) + text[at + chance.choice([0, 0, 1, 5, 30]) :]
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_text(text)
    found = [
        *problems_of(load_sweep, file),
        *problems_of(load_sweep, file, scale="cpu", overrides=["network.width=16"]),
        *problems_of(load_trial, file),
    ]
    assert all(found), "a refusal says why"
