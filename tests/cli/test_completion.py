"""What Tab offers in a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from logged import LoggedSweep

from gensweep.cli.main import cli
from gensweep.sweep.folder import SweepFolder


@pytest.fixture
def sweeps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ddpm-a", "ddpm-b", "dcgan"):
        SweepFolder(Path("sweeps"), name).create({})
    SweepFolder(Path("elsewhere"), "other").create({})


def offered(*words):
    *before, typed = words
    return [item.value for item in ShellComplete(cli, {}, "gensweep", "_").get_completions(before, typed)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["t"], ["tune", "train", "trials"]),
        (["tune", "--resume", "ddpm"], ["ddpm-a", "ddpm-b"]),
        (["tune", "--sweeps", "elsewhere", "--extend", ""], ["other"]),
        (["trials", "dc"], ["dcgan"]),
        (["best", "ddpm-a", "d"], ["dcgan", "ddpm-a", "ddpm-b"]),
        (["sample", "dc"], ["dcgan"]),
        (["sample", "nothing/"], ["nothing/"]),  # a folder
        (["train", "--from-run", "ddpm-b"], ["ddpm-b"]),
        (["tune", "flow_m"], ["flow_matching", "flow_m"]),  # and files
        (["init", "van"], []),
    ],
)
def test_tab_offers_what_there_is(words, names, sweeps):
    assert offered(*words) == names


def test_tab_offers_the_trials_of_the_sweep_that_is_typed(sweeps):
    logged = LoggedSweep("sweeps", "dcgan")
    for trial in ("t0000", "t0001"):
        logged.start(trial)
    assert offered("sample", "dcgan/") == ["dcgan/t0000", "dcgan/t0001"]


@pytest.mark.parametrize("line", ["gensweep ", "gensweep tune --resume ", "gensweep sample x"])
def test_tab_imports_neither_torch_nor_ray_nor_mlflow(line, tmp_path):
    code = (
        "import json, sys; from gensweep.cli.main import main\n"
        "try: main([])\n"
        "finally: print(json.dumps(sorted({'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules))), file=sys.stderr)"
    )
    asked = {"_GENSWEEP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **asked}
    )
    assert json.loads(done.stderr.splitlines()[-1]) == []
