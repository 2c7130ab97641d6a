"""cluster.yaml is what Ray accepts, starts what pyproject.toml pins, and opens nothing to the world.

These tests need no cloud: Ray's own preparation and validation run offline, and the set-up commands that can run
anywhere are run in a folder of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
CLUSTER = yaml.safe_load(TEXT)
NODES: dict[str, dict[str, Any]] = {name: node["node_config"] for name, node in CLUSTER["available_node_types"].items()}
COMMAND_KEYS = [key for key in CLUSTER if key.endswith("_commands")]
COMMANDS = [command for key in COMMAND_KEYS for command in CLUSTER[key]]
HEADER = TEXT.partition("cluster_name:")[0]


class AccountLoader(yaml.SafeLoader):
    """Reads CloudFormation's !Ref, !Sub and !GetAtt as the text that follows them."""


AccountLoader.add_multi_constructor("!", lambda loader, suffix, node: node.value)
ACCOUNT_TEXT = (ROOT / "docs" / "cluster-aws.yaml").read_text()
ACCOUNT = yaml.load(ACCOUNT_TEXT, Loader=AccountLoader)
RESOURCES = ACCOUNT["Resources"]

(MLFLOW_LINE,) = [
    line for command in COMMANDS for line in command.replace("\\\n", " ").splitlines() if line.startswith("ExecStart=")
]
MLFLOW_OPTIONS = shlex.split(MLFLOW_LINE.partition("mlflow server ")[2])


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_ray_prepares_and_validates_the_file():
    util = importlib.import_module("ray.autoscaler._private.util")
    prepared = util.prepare_config(CLUSTER)
    util.validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert prepared["head_setup_commands"][: len(CLUSTER["setup_commands"])] == CLUSTER["setup_commands"]


def test_ray_refuses_the_file_with_a_misspelt_key():
    util = importlib.import_module("ray.autoscaler._private.util")
    jsonschema = importlib.import_module("jsonschema")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        util.validate_config(util.prepare_config({**CLUSTER, "idle_timeout_minute": 10}))


def test_workers_are_spot_bounded_in_number_and_end_when_idle():
    assert NODES["gpu"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in NODES["head"], "a reclaimed head would end the sweep"
    gpu = CLUSTER["available_node_types"]["gpu"]
    assert 0 < gpu["min_workers"] <= gpu["max_workers"] <= CLUSTER["max_workers"]
    assert 0 < CLUSTER["idle_timeout_minutes"] <= 30
    assert CLUSTER["provider"]["cache_stopped_nodes"] is False


def test_trials_never_run_on_the_head():
    assert CLUSTER["available_node_types"]["head"]["resources"]["CPU"] == 0


# --- versions ---------------------------------------------------------------------------------------------------------


def requirements_installed() -> list[Requirement]:
    installs = [line for command in COMMANDS for line in command.splitlines() if "pip install" in line]
    words = [word for line in installs for word in shlex.split(line) if re.match(r"[A-Za-z].*[=<>~]", word)]
    return [Requirement(word) for word in words]


def test_versions_equal_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {Requirement(line).name: Requirement(line).specifier for line in project["dependencies"]}
    installed = {requirement.name: requirement.specifier for requirement in requirements_installed()}
    assert "ray" in installed
    for name in installed.keys() & pinned.keys():
        assert installed[name] == pinned[name], f"cluster.yaml: {name}{installed[name]}, pyproject: {pinned[name]}"


def test_project_is_synced_to_every_node():
    assert CLUSTER["file_mounts"]["~/gensweep"] == "."
    assert CLUSTER["rsync_filter"] == [".gitignore"]
    for left_out in (".venv", "sweeps", "mlruns", ".env"):
        assert any(left_out in pattern for pattern in CLUSTER["rsync_exclude"])


def test_every_node_has_the_same_image_and_so_the_same_python():
    assert len({node["ImageId"] for node in NODES.values()}) == 1


# --- security ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, ACCOUNT_TEXT], ids=["cluster.yaml", "cluster-aws.yaml"])
def test_nothing_is_open_to_the_world(text):
    assert "0.0.0.0" not in text
    assert "::/0" not in text


@pytest.mark.parametrize("node", NODES)
def test_security_group_is_never_made_by_ray(node):
    # Ray's own group opens SSH to every address, whatever provider.security_group says.
    assert NODES[node]["SecurityGroupIds"]
    assert "security_group" not in CLUSTER["provider"]


@pytest.mark.parametrize("node", NODES)
def test_an_unedited_security_group_is_refused_by_aws(node):
    for group in NODES[node]["SecurityGroupIds"]:
        assert not re.fullmatch(r"sg-[0-9a-f]+", group), "the shipped file names somebody's real security group"


@pytest.mark.parametrize("node", NODES)
def test_instance_metadata_needs_a_token(node):
    assert NODES[node]["MetadataOptions"]["HttpTokens"] == "required"
    assert NODES[node]["MetadataOptions"]["HttpPutResponseHopLimit"] == 1


@pytest.mark.parametrize("node", NODES)
def test_every_volume_is_encrypted_and_goes_with_its_node(node):
    volumes = [mapping["Ebs"] for mapping in NODES[node]["BlockDeviceMappings"]]
    assert volumes
    for volume in volumes:
        assert volume["Encrypted"] is True
        assert volume["VolumeType"] == "gp3"
        assert volume["DeleteOnTermination"] is True


def test_mlflow_listens_on_loopback_only():
    assert option(MLFLOW_OPTIONS, "--host") == "127.0.0.1"
    assert option(MLFLOW_OPTIONS, "--artifacts-destination") == "s3://$GENSWEEP_BUCKET/mlflow"


def test_account_opens_ssh_to_one_address_and_everything_between_nodes():
    (rule,) = RESOURCES["SecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (22, 22, "Address")
    between = RESOURCES["BetweenNodes"]["Properties"]
    assert between["GroupId"] == between["SourceSecurityGroupId"] == "SecurityGroup.GroupId"
    others = [name for name, item in RESOURCES.items() if item["Type"] == "AWS::EC2::SecurityGroupIngress"]
    assert others == ["BetweenNodes"]


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("203.0.113.7/32", True),
        ("198.51.100.0/24", True),
        ("0.0.0.0/0", False),
        ("203.0.113.7/0", False),
        ("203.0.113.7/16", False),
        ("203.0.113.7", False),
        ("/32", False),
        ("", False),
    ],
)
def test_account_takes_an_address_and_refuses_the_world(address, taken):
    parameter = ACCOUNT["Parameters"]["Address"]
    assert "Default" not in parameter
    assert bool(re.fullmatch(parameter["AllowedPattern"], address)) is taken


def test_workers_may_use_the_bucket_and_nothing_else():
    worker = RESOURCES["WorkerRole"]["Properties"]
    assert worker["ManagedPolicyArns"] == ["ReadWriteBucket"]
    assert "Policies" not in worker
    statements = RESOURCES["ReadWriteBucket"]["Properties"]["PolicyDocument"]["Statement"]
    assert all(action.startswith("s3:") and "*" not in action for item in statements for action in item["Action"])
    assert all("Bucket.Arn" in item["Resource"] for item in statements)


def test_account_makes_the_profiles_that_the_nodes_name():
    made = {
        item["Properties"]["InstanceProfileName"]
        for item in RESOURCES.values()
        if item["Type"] == "AWS::IAM::InstanceProfile"
    }
    assert {node["IamInstanceProfile"]["Name"] for node in NODES.values()} == made


def test_account_template_has_no_yaml_alias():
    # CloudFormation's reader knows none, though every other one does.
    assert not re.search(r"(?<=[\s:])[&*][a-z]\w*", re.sub(r"\"[^\"]*\"|#.*", "", ACCOUNT_TEXT))


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split("\n")[0][:40])
def test_command_is_well_formed_as_ray_will_run_it(command):
    # Ray wraps every command like this before it goes through SSH.
    wrapped = f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})"
    subprocess.run(["bash", "-n", "-c", wrapped], check=True)


def run_environment_command(tmp_path: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return subprocess.run(["bash", "-c", f"({command})"], env=environment, capture_output=True, text=True)


def test_set_up_stops_at_an_unedited_bucket(tmp_path):
    result = run_environment_command(tmp_path, CLUSTER["setup_commands"][0])
    assert result.returncode == 1
    assert "EDIT-ME-BUCKET" in result.stderr


def test_set_up_writes_the_environment_once_however_often_it_runs(tmp_path):
    edited = yaml.safe_load(TEXT.replace("EDIT-ME-BUCKET", "my-bucket"))["setup_commands"][0]
    for _ in range(2):
        result = run_environment_command(tmp_path, edited)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / ".bashrc").read_text().count("gensweep.env") == 1
    show = '. ~/.bashrc; echo "$GENSWEEP_BUCKET $RAY_AUTH_MODE"'
    assert run_environment_command(tmp_path, show).stdout == "my-bucket token\n"


#: Stands in for a program: notes how it was called, and in which environment.
FAKE = """#!/bin/sh
echo "${0##*/} $* [$RAY_AUTH_MODE $OMP_NUM_THREADS]" >> ~/calls
if [ "$*" = "freeze --exclude-editable" ]; then echo torch==9.9; fi
"""


class Node:
    """A machine whose programs are stand-ins, set up and started by the commands of its kind as Ray runs them."""

    def __init__(self, home: Path, kind: str, pins: str = "") -> None:
        self.home = home
        for name in ("venv/bin/python", "venv/bin/pip", "venv/bin/ray", "venv/bin/gensweep", "bin/sudo"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(FAKE)
            (home / name).chmod(0o755)
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text("secret")
        (home / "pins.txt").write_text(pins)
        edited = yaml.safe_load(TEXT.replace("EDIT-ME-BUCKET", "my-bucket"))
        for key in ("setup_commands", f"{kind}_setup_commands", f"{kind}_start_ray_commands"):
            for command in edited[key]:
                self.shell(f"export OMP_NUM_THREADS=1 && ({command})")

    def shell(self, command: str) -> str:
        """What a command prints in a shell that Ray opens."""
        environment = {"HOME": str(self.home), "PATH": f"{self.home}/bin:/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}
        command = f"touch ~/.bashrc; source ~/.bashrc; {command}"
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
        ).stdout

    def calls(self, beginning: str) -> list[str]:
        """How a program was called."""
        lines = (self.home / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(beginning)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    """A head, and a worker that joins it later: Ray copies the head's list of versions to it."""
    head = Node(tmp_path_factory.mktemp("head"), "head")
    pins = (head.home / Path(CLUSTER["cluster_synced_files"][0]).name).read_text()
    return {"head": head, "worker": Node(tmp_path_factory.mktemp("worker"), "worker", pins)}


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_node_starts_ray_with_token_authentication_and_all_threads(nodes, kind):
    (start,) = nodes[kind].calls("ray start")
    assert start.endswith("[token ]")
    assert ((nodes[kind].home / ".ray" / "auth_token").stat().st_mode & 0o777) == 0o600
    assert CLUSTER["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_dashboard_and_the_address_of_mlflow_are_loopback(nodes):
    (start,) = nodes["head"].calls("ray start --head")
    assert " --dashboard-host=127.0.0.1 " in start
    assert nodes["head"].shell('echo "$MLFLOW_TRACKING_URI $RAY_ADDRESS"') == "http://127.0.0.1:5000 auto\n"


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_node_installs_the_project_and_fetches_the_data(nodes, kind):
    (install,) = nodes[kind].calls("pip install")
    assert f"-e {nodes[kind].home}/gensweep" in install
    assert len(nodes[kind].calls("gensweep data fetch cifar10")) == 1


def test_a_later_worker_installs_what_the_head_installed(nodes):
    worker = nodes["worker"]
    assert (worker.home / "pins.txt").read_text() == "torch==9.9\n"
    assert f"-c {worker.home}/pins.txt" in worker.calls("pip install")[0]
    assert CLUSTER["cluster_synced_files"] == ["/home/ubuntu/pins.txt"], "Ray looks for the file and does not expand ~"


def test_the_bucket_reaches_the_mlflow_service(tmp_path):
    (command,) = [command for command in CLUSTER["head_setup_commands"] if "ExecStart=" in command]
    tools = "sudo() { case $1 in tee) cat >&3;; esac; }; exec 3>&1; export GENSWEEP_BUCKET=my-bucket; "
    unit = run_environment_command(tmp_path, tools + command).stdout
    (started,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert started.endswith(" --artifacts-destination s3://my-bucket/mlflow")
    assert [line for line in unit.splitlines() if line.startswith("[")] == ["[Unit]", "[Service]", "[Install]"]
    assert (tmp_path / "results").is_dir()


def parse(program: click.Command, words: list[str]) -> None:
    """Parse a command line down to its last sub-command, without running anything."""
    context = program.make_context(program.name or "", list(words))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)


SHOWN = [
    shlex.split(line, comments=True)
    for line in re.sub(r"(?m)^# *", "", HEADER).replace("\\\n", " ").splitlines()
    if re.match(r"(ray|aws|pip) .*[.-]", line)
]
RAY_LINES = [words[1:] for words in SHOWN if words[0] == "ray"]
RAY_LINES += [shlex.split(line.partition("; ray ")[2]) for line in COMMANDS if "; ray " in line]
GENSWEEP_LINES = [
    shlex.split(part.replace("~", str(ROOT.parent)).replace(f"{ROOT.parent}/gensweep/", f"{ROOT}/"))[1:]
    for argument in [word for words in SHOWN for word in words] + COMMANDS
    for part in argument.split(" && ")
    if part.startswith("gensweep ")
]


@pytest.mark.parametrize("words", RAY_LINES, ids=" ".join)
def test_ray_knows_every_command_and_option_that_is_shown(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    parse(importlib.import_module("ray.scripts.scripts").cli, words)


@pytest.mark.parametrize("words", GENSWEEP_LINES, ids=" ".join)
def test_gensweep_knows_every_command_and_option_that_is_shown(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    main = importlib.import_module("gensweep.cli.main")
    parse(main.cli, words)


@pytest.mark.filterwarnings("ignore")  # MLflow's own imports warn, and it is its option names that are looked at
def test_mlflow_knows_the_options_of_its_server():
    parse(importlib.import_module("mlflow.cli").server, MLFLOW_OPTIONS)
