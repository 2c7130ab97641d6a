"""What keeps a trial from being scored is found before anything trains."""

from __future__ import annotations

import pytest
from untrained import config

from gensweep.build.parts import check_inputs
from gensweep.errors import ConfigError

SECTIONS = ["evaluation", "final"]


def problems(section, settings, **overrides):
    """What is wrong if those settings of an evaluation are asked for by the trial itself, or at the end."""
    trial, wanted = config("diffusion", **overrides), {f"evaluation.{key}": value for key, value in settings.items()}
    asked = ([trial], wanted) if section == "final" else ([trial.with_overrides(wanted)],)
    with pytest.raises(ConfigError) as refused:
        check_inputs(*asked)
    return refused.value.problems


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("against", "words"), [("none.npz", "none.npz is not a file"), ("none/", "none is not a folder")]
)
def test_what_is_compared_with_must_be_there(tmp_path, section, against, words):
    (problem,) = problems(section, {"against": f"{tmp_path}/{against}"})
    assert problem.startswith(f"{section}.against: {tmp_path}/{words}; name ")


def test_a_folder_to_compare_with_is_one_set_of_pictures(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    (problem,) = problems("evaluation", {"against": f"{tmp_path}/"})
    assert problem == (
        f"evaluation.against: {tmp_path}/ holds several splits; name the folder {tmp_path}/train/ or {tmp_path}/test/"
    )


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("metric", "limit", "words"),
    [
        ("fd", 1, "a Frechet distance needs at least 2 real images, but got 1; raise the limit of the data"),
        ("kid", 1, "a kernel distance needs at least 2 real images, but got 1"),
        ("density", 5, "density needs at least 6 real images, but got 5"),
        ("authpct", 1, "authpct needs at least 2 real images, but got 1"),
        ("agreement", 1, "agreement needs at least 2 real images, but got 1"),
    ],
)
def test_a_metric_needs_real_images_enough(section, metric, limit, words):
    # The extractor and the metric of the trial itself are fine with as many.
    metrics = {} if section == "evaluation" or limit > 1 else {"evaluation__metrics": ["bpd"]}
    found = problems(section, {"metrics": [metric]}, data__limit=limit, **metrics)
    assert [problem.partition(words)[0] for problem in found] == [f"{section}.metrics: "]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("metric", "samples", "words"),
    [
        ("density", 5, "density needs at least 6 generated images, but got 5; raise the number of samples"),
    ],
)
def test_a_metric_needs_generated_images_enough(section, metric, samples, words):
    (problem,) = problems(section, {"metrics": [metric], "samples": samples}, data__limit=300)
    assert problem.startswith(f"{section}.samples: {words}")


def test_images_that_are_enough_are_let_pass():
    every = ["fd", "kid", "density", "authpct", "agreement"]
    assert (
        check_inputs([config("diffusion", data__limit=6, data__classes=list("012345"), evaluation__metrics=every)])
        == []
    )
