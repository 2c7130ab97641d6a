"""`gensweep init --data`: a space for a folder of pictures, which fits the folder, the machine and the time."""

import json
import os
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from gensweep.build.parts import build_family
from gensweep.cli.main import run
from gensweep.data import folder_survey
from gensweep.data.loader import Loader
from gensweep.data.picture_files import FolderListing, shuffle_key
from gensweep.run import allotment, planning
from gensweep.training.cost import training_flops

pytestmark = pytest.mark.trains

A_CORE, A_GPU = 4e10, 2e12  # FLOP/s


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def machine(monkeypatch):
    """A machine of a known speed, so that no test depends on the load."""

    def of(speed, gpus=()):
        def time_trial(trial, images, workers):
            return training_flops(build_family(trial, images.shape, images.classes), Loader(images, seed=0)) / speed

        monkeypatch.setattr(planning, "time_trial", time_trial)
        monkeypatch.setattr(allotment, "visible_gpus", lambda: tuple(gpus))

    return of


def pictures(folder, count, *, sides=(20, 120), classes=("cat", "dog"), mode="RGB"):
    """Smooth pictures of mixed sizes, as PNG."""
    rng = np.random.default_rng(0)
    for index in range(count):
        place = folder / classes[index % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        seed = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).convert(mode)
        seed.resize(tuple(map(int, rng.integers(*sides, 2)))).save(place / f"{index}.png", compress_level=1)


def written(file, capsys):
    """The file, and the output of its dry run."""
    capsys.readouterr()
    assert run(["tune", str(file), "--dry-run", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["problem"] for each in found["checks"] if each["problem"]] == []
    return yaml.safe_load(file.read_text()), found


@pytest.mark.parametrize(
    ("count", "time", "hours", "speed", "gpus", "purpose"),
    [
        (20, "20min", 1 / 3, A_CORE, (), "quality"),
        (20, "20min", 1 / 3, A_CORE, (), "speed"),
        (200, "8h", 8, A_CORE, (), "quality"),
        (3000, "2h", 2, A_CORE, (), "speed"),
        (200, "8h", 8, A_GPU, ("0", "1"), "quality"),
    ],
)
def test_the_file_passes_a_dry_run_and_fits_the_time(folder, machine, capsys, count, time, hours, speed, gpus, purpose):
    machine(speed, gpus)
    pictures(folder / "photos", count)
    more = ["--gpu-memory", "16GB"] if gpus else []
    assert run(["init", "--data", "photos", "--time", time, "--for", purpose, *more]) == 0
    _, err = capsys.readouterr()
    assert err.splitlines()[-3:] == [
        "  gensweep tune photos.yaml --dry-run",
        f"  gensweep tune photos.yaml --for {time}",
        "  gensweep best --compare photos",
    ]
    space, preview = written(folder / "photos.yaml", capsys)
    assert hours / 2 < preview["hours"]["high"] <= hours
    kinds = [each["kind"] for each in space["space"]["family"]["choice"]]
    assert ("flow" in kinds) == (purpose == "quality")
    assert all(sum(kind == each["family.kind"] for each in space["search"]["enqueue"]) == 2 for kind in kinds)
    assert space["resources"]["gpus_per_worker"] == len(gpus[:1])
    assert space["base"]["data"]["size"] == 32, "the pictures are not larger"


def test_more_compute_buys_larger_images_and_wider_networks(folder, machine, capsys):
    pictures(folder / "photos", 30, sides=(150, 200))
    found = []
    for speed in (A_CORE, 4 * A_CORE):
        machine(speed)
        assert run(["init", "--data", "photos", "--time", "8h", "-o", f"{speed:g}.yaml"]) == 0
        space = yaml.safe_load((folder / f"{speed:g}.yaml").read_text())
        flow = next(each for each in space["space"]["family"]["choice"] if each["kind"] == "flow")
        found.append((space["base"]["data"]["size"], max(flow["network"]["width"]["choice"])))
    assert found[0] < found[1]
    assert found[0][0] < found[1][0]


def test_the_file_says_what_is_in_the_folder(folder, machine, capsys):
    machine(A_CORE)
    pictures(folder / "photos", 30, sides=(16, 20), mode="L")
    for index in range(3):
        (folder / "photos" / "cat" / f"copy{index}.png").write_bytes((folder / "photos" / "cat" / "0.png").read_bytes())
    (folder / "photos" / "dog" / "broken.jpg").write_bytes(b"no picture")
    assert run(["init", "--data", "photos", "--time", "30min"]) == 0
    text = (folder / "photos.yaml").read_text()
    assert "# 34 training pictures. Of 34, 1 cannot be read. Of 34, 3 are copies" in text
    assert "gensweep finetune" in text
    space, _ = written(folder / "photos.yaml", capsys)
    assert space["base"]["data"] == {
        "kind": "image_folder", "path": "photos", "size": 16, "channels": 1, "allow_skipped": True,
    }  # fmt: skip


def test_every_choice_is_explained_in_its_line(folder, machine, capsys):
    machine(A_CORE)
    pictures(folder / "photos", 20)
    assert run(["init", "--data", "photos"]) == 0
    choices = (
        "size",
        "batch_size",
        "ema_half_life",
        "samples",
        "budget",
        "trials",
        "sampler",
        "scheduler",
        "resources",
    )
    lines = (folder / "photos.yaml").read_text().splitlines()
    for choice in choices:
        found = [line for line in lines if re.match(rf" {{0,4}}{choice}:", line)]
        assert found
        assert all(" # " in line for line in found)
    for index, line in enumerate(lines):
        assert "- kind:" not in line or lines[index - 1].strip().startswith("# ")


def test_a_million_pictures_are_sampled(folder, machine, monkeypatch, capsys):
    machine(A_CORE)
    names = [f"c{index % 10}/{index}.png" for index in range(1_000_000)]
    pictures(folder / "one", 1)
    for index in range(10):
        (folder / "photos" / f"c{index}").mkdir(parents=True)
    for name in sorted(names, key=shuffle_key)[: folder_survey.MOST_COMPARED]:
        os.link(folder / "one" / "cat" / "0.png", folder / "photos" / name)  # the others do not exist
    monkeypatch.setattr(folder_survey, "list_files", lambda path: FolderListing(names, []))
    assert run(["init", "--data", "photos", "--time", "2h"]) == 0
    text = (folder / "photos.yaml").read_text()
    assert "# 1,000,000 training pictures. Of 400, 0 cannot be read. Of 5000, 4999 are copies" in text
    assert 200 <= yaml.safe_load(text)["base"]["data"]["limit"] < 1_000_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--data", "empty"], "empty has no picture that can be read, among 0 files (known: .avif"),
        (["--data", "texts"], "texts has no picture that can be read, among 1 files (known: .avif"),
        (["--data", "broken"], "broken has no picture that can be read, among 1 files (not in a known picture format)"),
        (["--data", "photos", "--time", "soon"], "--time: 'soon' is not an amount"),
        (["--data", "photos", "--time", "2e13flops"], "--time: '2e13flops' is no time; give one such as 30min"),
        (["--data", "photos", "--time", "1s", "-o", "new.yaml"], "--time: 4 trials on this machine need at least 2min"),
        (["--data", "photos", "--gpu-memory", "much"], "--gpu-memory: 'much' is no size; give one such as 8GB"),
        (["--data", "photos", "--gpu-memory", "8GB", "-o", "new.yaml"], "--gpu-memory: this machine has no GPU"),
        (["--data", "photos"], "photos.yaml exists already; remove it, or choose another name with -o"),
        (["ddpm", "--data", "photos"], "Give either NAME or --data FOLDER"),
    ],
)
def test_what_cannot_be_done_is_said(folder, machine, capsys, words, message):
    machine(A_CORE)
    pictures(folder / "photos", 4)
    for name in ("empty", "texts", "broken"):
        (folder / name).mkdir()
    (folder / "texts" / "a.txt").write_text("a")
    (folder / "broken" / "a.png").write_text("a")
    (folder / "photos.yaml").write_text("mine")
    assert run(["init", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert (folder / "photos.yaml").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.mlflow
def test_from_pictures_to_a_verdict(folder, capsys):
    pictures(folder / "photos", 40)
    assert run(["init", "--data", "photos", "--time", "3min", "--for", "speed"]) == 0
    assert run(["tune", "photos.yaml"]) == 0
    assert run(["best", "--compare", "photos", "--format", "json"]) == 0
    assert '"diffusion_gan"' in capsys.readouterr().out
