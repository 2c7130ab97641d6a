"""cluster.yaml and docs/cluster-aws.yaml as Ray and AWS read them: valid, the project's versions, closed to the world.

Ray's own preparation and validation run offline.  What the commands of the file do: test_cluster_nodes.
"""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
NODES: dict[str, dict[str, Any]] = {name: node["node_config"] for name, node in CLUSTER["available_node_types"].items()}
COMMANDS = [command for key in CLUSTER if key.endswith("_commands") for command in CLUSTER[key]]


class AccountLoader(yaml.SafeLoader):
    """Reads CloudFormation's !Ref, !Sub and !GetAtt as the text that follows them."""


AccountLoader.add_multi_constructor("!", lambda loader, suffix, node: node.value)
ACCOUNT_TEXT = (ROOT / "docs" / "cluster-aws.yaml").read_text()
ACCOUNT = yaml.load(ACCOUNT_TEXT, Loader=AccountLoader)
RESOURCES = ACCOUNT["Resources"]


def test_ray_prepares_and_validates_the_file():
    util = importlib.import_module("ray.autoscaler._private.util")
    prepared = util.prepare_config(CLUSTER)
    util.validate_config(prepared)
    assert importlib.import_module("ray.autoscaler._private.providers")._get_node_provider_cls(prepared["provider"])
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert prepared["initialization_commands"] == []  # ray up reads it, and has no default with an external provider
    assert prepared["head_setup_commands"][: len(CLUSTER["setup_commands"])] == CLUSTER["setup_commands"]


def test_ray_refuses_the_file_with_a_misspelt_key():
    util = importlib.import_module("ray.autoscaler._private.util")
    jsonschema = importlib.import_module("jsonschema")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        util.validate_config(util.prepare_config({**CLUSTER, "idle_timeout_minute": 10}))


def test_workers_come_when_asked_for_are_spot_bounded_in_number_and_end_when_idle():
    assert NODES["gpu"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in NODES["head"], "a reclaimed head would end the sweep"
    gpu = CLUSTER["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0
    assert 0 < gpu["max_workers"] <= CLUSTER["max_workers"]
    assert 0 < CLUSTER["idle_timeout_minutes"] <= 5
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


def leaves(tree: Any) -> Iterator[str]:
    """All values of nested mappings and lists, as text."""
    if isinstance(tree, dict | list):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(item)
    else:
        yield str(tree)


@pytest.mark.parametrize("tree", [CLUSTER, ACCOUNT], ids=["cluster.yaml", "cluster-aws.yaml"])
def test_nothing_is_open_to_the_world(tree):
    values = list(leaves(tree))
    assert len(values) > 50
    assert not [value for value in values if "0.0.0.0" in value or "::/0" in value]


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
