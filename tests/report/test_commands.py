"""The commands that the report prints: they load as they stand, and give the scores that they promise."""

from dataclasses import replace

import pytest
import recorded
from made_up import IDENTITY
from shown_commands import parse

from gensweep.config import TrialConfig, parse_overrides
from gensweep.report.commands import rerun_command

GAN = {"data": {"kind": "digits", "limit": 50}, "family": {"kind": "gan"}, "training": {"images": 64, "batch_size": 16}}
FOLDER = {"kind": "image_folder", "path": "my photos: #1/best", "size": 64, "test_fraction": 0.0}


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("samples", {"evaluation": {"samples": 800}}),
        ("reference", {"data": FOLDER}),
        ("reference", {"data": {"kind": "digits"}, "evaluation": {"against": "whole"}}),
        ("extractor", {"evaluation": {"extractor": {"kind": "inception"}}}),
        ("extractor", {"evaluation": {"extractor": {"kind": "efficientnet_lite0", "resolution": 64}}}),
        ("metric", {"evaluation": {"metrics": ["recall"]}}),
        ("weights", {"training": {"images": 64, "batch_size": 16, "ema_half_life": 0}}),
    ],
)
def test_the_command_that_makes_scores_alike_loads_as_printed_and_does(part, changes):
    own, wanted = TrialConfig.from_dict(GAN), TrialConfig.from_dict(GAN | changes)
    found = recorded.trial("a", 0, 5.0, config=own.as_dict())
    like = recorded.trial("b", 0, 5.0, config=wanted.as_dict(), identity=replace(IDENTITY, **{part: "another"}))
    parsed = parse(rerun_command(found, like).removeprefix("gensweep "))
    assert (parsed.command, parsed.values["from_run"]) == ("train", "a/t0000")
    assert own.with_overrides(parse_overrides(parsed.values["overrides"])).as_dict() == wanted.as_dict()
