"""What the commands of cluster.yaml do, run by stand-ins of its nodes; and how the real programs read what they get."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import pytest
import yaml
from shown_commands import Parsed, parse

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
CLUSTER = yaml.safe_load(TEXT)
EDITED = yaml.safe_load(TEXT.replace("EDIT-ME-BUCKET", "my-bucket"))
KEYS = {kind: ["setup_commands", f"{kind}_setup_commands", f"{kind}_start_ray_commands"] for kind in ("head", "worker")}

PROGRAM = """#!/bin/sh
echo "${0##*/} $* [$RAY_AUTH_MODE $OMP_NUM_THREADS]" >> ~/calls
if [ "$*" = "freeze --exclude-editable" ]; then echo torch==9.9; fi
"""
"""Stands in for a program: notes how it was called, and in which environment."""

SUDO = """#!/bin/sh
echo "sudo $*" >> ~/calls
if [ "$1" = tee ]; then cat > ~/"${2##*/}"; fi
"""
"""Notes how it was called, and keeps a system file in the home folder."""


class Node:
    """A machine whose programs are stand-ins, set up and started by the commands of its kind as Ray runs them."""

    def __init__(self, home: Path, kind: str, pins: str = "") -> None:
        self.home = home
        for name in ("venv/bin/python", "venv/bin/pip", "venv/bin/ray", "venv/bin/gensweep", "bin/sudo"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(SUDO if name == "bin/sudo" else PROGRAM)
            (home / name).chmod(0o755)
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text("secret")
        (home / "pins.txt").write_text(pins)
        for key in KEYS[kind]:
            for command in EDITED[key]:
                self.shell(f"export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})")

    def shell(self, command: str) -> str:
        """What a command prints in a shell that Ray opens."""
        environment = {"HOME": str(self.home), "PATH": f"{self.home}/bin:/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}
        command = f"touch ~/.bashrc; source ~/.bashrc; {command}"
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def calls(self, beginning: str) -> list[str]:
        """How a program was called, with the two variables of its environment at the end."""
        lines = (self.home / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(beginning)]

    def call(self, beginning: str) -> Parsed:
        """The last such call, as the program itself reads it."""
        name, _, words = self.calls(beginning)[-1].rpartition(" [")[0].partition(" ")
        return as_read_by(name, words)


def as_read_by(program: str, words: str) -> Parsed:
    """A command line of ray or gensweep."""
    return parse(words, importlib.import_module("ray.scripts.scripts").cli) if program == "ray" else parse(words)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    """A head, and a worker that joins it later: Ray copies the head's list of versions to it."""
    head = Node(tmp_path_factory.mktemp("head"), "head")
    pins = (head.home / Path(CLUSTER["cluster_synced_files"][0]).name).read_text()
    return {"head": head, "worker": Node(tmp_path_factory.mktemp("worker"), "worker", pins)}


def test_set_up_stops_at_an_unedited_bucket(tmp_path):
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = ["bash", "-c", f"({CLUSTER['setup_commands'][0]})"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "EDIT-ME-BUCKET" in done.stderr
    assert "ray down cluster.yaml" in done.stderr, "the head is billed until then"


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_node_starts_ray_with_token_authentication_and_all_threads(nodes, kind):
    (start,) = nodes[kind].calls("ray start")
    assert start.endswith("[token ]")
    assert ((nodes[kind].home / ".ray" / "auth_token").stat().st_mode & 0o777) == 0o600
    assert CLUSTER["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_workers_join_the_port_that_the_head_opens(nodes):
    head, worker = (nodes[kind].call("ray start").values for kind in ("head", "worker"))
    assert head["head"] is True
    assert worker["address"] == f"10.0.0.1:{head['port']}"
    assert worker["object_manager_port"] == head["object_manager_port"]
