import json
from dataclasses import replace

import pytest

from gensweep.results import Anchor, Evaluation, Identity, Score

IDENTITY = Identity(
    metric="fd",
    extractor="efficientnet_lite0/1280@128px/float32/sha256:579344248a93",
    samples=5000,
    reference="digits (1,500 images, 32x32)#abc123",
    quantisation="uint8",
)


@pytest.mark.parametrize("field", list(IDENTITY.as_dict()))
def test_every_field_is_told_where_it_differs(field: str):
    other = replace(IDENTITY, **{field: 7 if field == "samples" else "raw"})
    assert other != IDENTITY
    difference = IDENTITY.differences(other)
    assert list(difference) == [field]
    for identity in (IDENTITY, other):
        value = identity.as_dict()[field]
        assert (f"{value:,}" if isinstance(value, int) else value) in difference[field]


FLOOR = Anchor(30.0, "digits/test", 300, corrected=12.0, error=1.0)


def test_what_a_score_is_read_beside_survives_json():
    score = Score(50.0, "min", IDENTITY, floor=FLOOR, ceiling=Anchor(340.0, "noise", 5000))
    evaluation = Evaluation(9, {"fd": score})
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.as_dict()))) == evaluation
    assert evaluation.numbers() == {
        "fd": 50.0,
        "fd/floor": 30.0,
        "fd/floor_corrected": 12.0,
        "fd/floor_error": 1.0,
        "fd/ceiling": 340.0,
    }


@pytest.mark.parametrize(
    ("mode", "value", "like_noise"),
    [
        ("min", 340, True),
        ("min", 322, True),
        ("min", 320, False),
        ("max", 340, True),
        ("max", 358, True),
        ("max", 360, False),
    ],
)
def test_a_score_is_that_of_noise_within_the_ceilings_interval_and_beyond(mode, value, like_noise):
    ceiling = Anchor(340.0, "noise", 300, error=10.0)
    assert Score(value, mode, IDENTITY, ceiling=ceiling).like_noise == like_noise
    exact = Score(value, mode, IDENTITY, ceiling=replace(ceiling, error=None))
    assert exact.like_noise == (value == 340)
    assert not Score(value, mode, IDENTITY).like_noise
