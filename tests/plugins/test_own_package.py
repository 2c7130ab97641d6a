"""A package of a user's own, from `gensweep new` to a sweep that is judged, used as a person uses it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from made_up import empty_store
from typed_commands import call, start

from gensweep.api import running
from gensweep.cli.main import run
from gensweep.config import load_sweep
from gensweep.errors import GensweepError

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


@pytest.mark.trains
def test_the_page_holds_what_new_writes_and_that_passes_its_own_tests(here, capsys):
    text = PAGE.read_text(encoding="utf-8")
    for line in re.findall(r"^gensweep (new .*)$", text, re.MULTILINE):
        assert run(line.split()) == 0
    assert re.search(r"```python\n(.*?)```", text, re.DOTALL)[1] in Path("brightness.py").read_text()
    Path("own.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert load_sweep("own.yaml").plugins == ("brightness.py",)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    capsys.readouterr()
    for name, message in (
        ("shapes", "exists already"),
        ("json", "an installed module"),
        ("a-b", "cannot name a Python module"),
    ):
        assert run(["new", "dataset", name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.mlflow
def test_a_package_outside_of_this_repository_is_swept_sampled_and_judged(here, anew, monkeypatch):
    """From the command line; what trains as a process of its own, the other commands as if they were."""
    names = {"schedule": "expo", "network": "plainnet", "dataset": "shapes", "sampler": "plain_euler"}
    for kind, name in (names | {"metric": "brightness", "family": "pixelwise"}).items():
        call(here, "new", kind, name, "-o", here / "kinds")
    diffusion = {
        "kind": "diffusion",
        "network": {"kind": "plainnet", "width": 8, "depth": 1},
        "diffusion": {"timesteps": 20, "schedule": {"kind": "expo", "rate": {"float": [4.0, 12.0]}}},
        "sampler": {"kind": "plain_euler", "steps": 2},
    }
    space = {
        "name": "own",
        "plugins": ["kinds.expo", "kinds/shapes.py", "kinds.plain_euler", "kinds.brightness", "kinds.pixelwise"],
        "objective": {"metric": "brightness", "mode": "min"},
        "budget": {"images": 64},
        "base": {
            "data": {"kind": "shapes", "size": 8, "limit": 100},
            "training": {"batch_size": 16, "precision": "float32", "memory_format": "contiguous"},
            "evaluation": {"metrics": ["brightness"], "samples": 16, "extractor": {"resolution": 32}},
        },
        "space": {"family": {"choice": [diffusion, {"kind": "pixelwise"}]}},
        "search": {
            "trials": 2,
            "enqueue": [{"family.kind": "diffusion"}, {"family.kind": "pixelwise"}],
            "sampler": {"kind": "random"},
            "scheduler": {"kind": "fifo"},
        },
    }
    (here / "own.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    shutil.copyfile(empty_store(), here / "mlflow.db")
    imported = ("--import", "kinds.plainnet")
    start(here, "tune", "own.yaml", *imported)
    log = [json.loads(line) for line in (here / "sweeps/own/events.jsonl").read_text().splitlines()]
    (session,) = (event for event in log if event["event"] == "session_started")
    hashes = json.loads(session["tags"]["gensweep.plugins"])
    assert hashes.keys() == {*space["plugins"], *imported[1:]} - {"kinds/shapes.py"} | {"shapes"}
    kept = here / "sweeps/own/plugins" / hashes["shapes"][:12] / "shapes.py"
    rows = json.loads(call(here, "trials", "own", "--format", "json").out)
    assert {row["params"]["family.kind"]: row["status"] for row in rows} == dict.fromkeys(
        ("diffusion", "pixelwise"), "finished"
    )

    (here / "kinds/shapes.py").rename(here / "kinds/gone.py")
    with anew():
        call(here, "sample", "own", "-n", 1, "-o", "b.png")  # the copy will do
    kept.rename(here / "away.py")
    with anew():
        (line,) = call(here, "tune", "--resume", "own", code=2).err.splitlines()
    assert "plug-in shapes: it is not installed, and its copy in " in line
    (here / "away.py").rename(kept)
    (here / "kinds/gone.py").rename(here / "kinds/shapes.py")
    with (here / "kinds/shapes.py").open("a") as file:
        file.write("# changed\n")
    with anew(), monkeypatch.context() as patch:
        patch.setattr(running, "run_plan", no_ray)
        said = call(here, "tune", "--extend", "own", "--trials", 1, code=1).err
    assert "the code of the plug-in shapes has changed" in said
    assert "Error: as far as Ray" in said

    call(here, "sample", "own", "-n", 4, "-o", "a.png")  # without --import: the run knows what it needs
    best = json.loads(call(here, "best", "own", "--format", "json").out)
    identity = best["objective"]["identity"]
    assert (identity["metric"], identity["extractor"]) == ("brightness", "pixels")
    assert set(best["config"]["plugins"]) == {*space["plugins"], *imported[1:]}
    call(here, "best", "--compare")
    assert {"pixelwise", "diffusion"} <= set(re.findall(r"\w+", (here / "report.html").read_text(encoding="utf-8")))
    assert "valid sweep" in call(here, "config", "validate", "own.yaml", *imported).out
    assert '"plainnet"' in call(here, "config", "schema", *imported).out
    preview = json.loads(
        call(here, "tune", "own.yaml", "--name", "new", "--dry-run", "--format", "json", *imported).out
    )
    assert preview["sweep"]["space"]["family"]["choice"][0]["network"]["kind"] == "plainnet"


def no_ray(*_, extend, **__):
    assert extend == 1
    raise GensweepError("as far as Ray")
