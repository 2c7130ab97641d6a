"""A sweep and what comes after it, where every path holds what URLs, shells and Python take for something else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed_commands import foreign, start

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.trains]

STRANGE = "a b #1 100% %20 what? it's é ☃"
SPACE = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
TINY = [
    "search.trials=1",
    "search.sampler.kind=random",
    "family.kind=gan",
    "budget={images: 64}",
    "training.batch_size=16",
    "evaluation.at=[0.5]",
    "evaluation.samples=16",
    "evaluation.batch_size=16",
    "evaluation.extractor.resolution=32",
    "data.kind=image_folder",
    "data.size=16",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a sweep ran, with a umask that lets everybody write; its storage and its data have such names, too."""
    folder = tmp_path_factory.mktemp("user") / STRANGE
    pictures = folder / f"data {STRANGE}" / "class"
    pictures.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(pictures / f"{index} {STRANGE}.png")
    changes = [*TINY, f"data.path={json.dumps(str(pictures.parent))}"]
    words = ["tune", str(SPACE), "--storage", f"kept {STRANGE}", *(f"--set={change}" for change in changes)]
    environment = {key: value for key, value in os.environ.items() if not foreign(key)}
    done = subprocess.run(
        ["sh", "-c", 'umask 0; exec "$@"', "sh", sys.executable, "-m", "gensweep", *words],
        cwd=folder,
        env=environment | {"GENSWEEP_CACHE": str(folder / f"cache {STRANGE}")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folder


def test_its_trial_is_listed_and_its_checkpoint_is_where_it_was_to_be(folder):
    (row,) = json.loads(start(folder, "trials", "--format", "json").out)
    assert row["status"] == "finished"
    best = json.loads(start(folder, "best", "--format", "json").out)
    assert best["trial"] == "t0000"
    assert Path(best["checkpoint"]).is_relative_to(folder / f"kept {STRANGE}")
    assert (Path(best["checkpoint"]) / "state.safetensors").is_file()


def test_images_are_drawn_into_a_folder_of_such_a_name(folder):
    start(folder, "sample", "quickstart", "-n", "2", "-o", f"out {STRANGE}")
    assert len([*(folder / f"out {STRANGE}").glob("*.png")]) == 2


def test_the_sweep_goes_on_by_the_command(folder):
    assert "1 trials" in start(folder, "tune", "--resume", "quickstart").err


def test_the_report_shows_its_pictures_and_everything_lies_inside(folder):
    start(folder, "best", "--compare", "--html", f"report {STRANGE}.html")
    assert "data:image/png;base64," in (folder / f"report {STRANGE}.html").read_text(encoding="utf-8")
    # MLflow makes a folder by the encoded name of this one, and puts nothing there.
    assert [each.name for each in folder.parent.iterdir() if any(each.iterdir())] == [STRANGE]
    assert (folder / "mlflow.db").is_file()


def test_nobody_else_may_write_in_anything_that_a_sweep_makes(folder):
    made = [folder / name for name in ("sweeps", "mlruns", "mlflow.db", f"kept {STRANGE}", f"cache {STRANGE}")]
    paths = [each for top in made for each in (top, *top.rglob("*")) if not each.is_symlink()]
    assert [str(each) for each in paths if each.stat().st_mode & 0o022] == []
