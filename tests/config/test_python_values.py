"""What Python has beside the values of a file: taken for what it says, or named with its key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gensweep.config import load_trial
from gensweep.errors import ConfigError

TRIAL = {"data": {"kind": "digits"}, "family": {"kind": "gan"}, "training": {"images": 64, "batch_size": 16}}


def test_paths_and_numbers_of_numpy_are_taken():
    given = {"data": {"kind": "image_folder", "path": Path("my photos")}, "training.images": np.int64(128)}
    found = load_trial(TRIAL, overrides=given | {"gan.generator_learning_rate": np.float32(0.5)}).as_dict()
    assert found["data"]["path"] == "my photos"
    assert found["training"]["images"] == 128
    assert found["gan"]["generator_learning_rate"] == 0.5
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("value", [{1, 2}, range(3), b"a"], ids=["set", "range", "bytes"])
def test_what_no_file_could_hold_is_refused_with_its_key(value):
    with pytest.raises(ConfigError, match=r"training\.images: .* is not a whole number"):
        load_trial(TRIAL, overrides={"training.images": value})


@pytest.mark.parametrize("source", [None, [1], 3])
def test_what_is_neither_file_nor_mapping_is_no_configuration(source):
    with pytest.raises(ConfigError, match="is not a configuration; pass the path of a YAML file"):
        load_trial(source)
