"""cluster.yaml and docs/cluster-aws.yaml as Ray and AWS read them: valid, the project's versions, closed to the world.

Ray's own preparation and validation run offline.  What the commands of the file do: test_cluster_nodes.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
TEMPLATE = ROOT / "docs" / "cluster-aws.yaml"
ACCOUNT = yaml.load(TEMPLATE.read_text(), Loader=AccountLoader)
RESOURCES = ACCOUNT["Resources"]


def test_ray_prepares_and_validates_the_file():
    util = importlib.import_module("ray.autoscaler._private.util")
    prepared = util.prepare_config(CLUSTER)
    util.validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert prepared["head_setup_commands"][: len(CLUSTER["setup_commands"])] == CLUSTER["setup_commands"]


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
def test_node_is_closed_encrypted_and_leaves_no_disk(node):
    settings = NODES[node]
    # Ray's own group opens SSH to every address, whatever provider.security_group says.
    assert settings["SecurityGroupIds"]
    assert "security_group" not in CLUSTER["provider"]
    assert settings["MetadataOptions"].items() >= {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}.items()
    for volume in [mapping["Ebs"] for mapping in settings["BlockDeviceMappings"]]:
        assert volume["Encrypted"] is volume["DeleteOnTermination"] is True


def test_account_opens_ssh_to_one_address_alone():
    (rule,) = RESOURCES["SecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (22, 22, "Address")
    between = RESOURCES["BetweenNodes"]["Properties"]
    assert between["GroupId"] == between["SourceSecurityGroupId"] == "SecurityGroup.GroupId"
    others = [name for name, item in RESOURCES.items() if item["Type"] == "AWS::EC2::SecurityGroupIngress"]
    assert others == ["BetweenNodes"]


def test_workers_may_use_the_bucket_and_nothing_else():
    worker = RESOURCES["WorkerRole"]["Properties"]
    assert worker["ManagedPolicyArns"] == ["ReadWriteBucket"]
    assert "Policies" not in worker
    statements = RESOURCES["ReadWriteBucket"]["Properties"]["PolicyDocument"]["Statement"]
    assert all(action.startswith("s3:") and "*" not in action for item in statements for action in item["Action"])
    assert all("Bucket.Arn" in item["Resource"] for item in statements)


@pytest.mark.trains
def test_cloudformation_linter_finds_nothing():
    linter = "from cfnlint.runner import main; main()"
    done = subprocess.run([sys.executable, "-c", linter, str(TEMPLATE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_head_may_change_only_named_resources():
    (policy,) = RESOURCES["HeadRole"]["Properties"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        actions, resources = (np.atleast_1d(statement[key]).tolist() for key in ("Action", "Resource"))
        if not all(action.startswith("ec2:Describe") for action in actions):
            assert "*" not in resources
            assert not any("*" in action for action in actions)
        if "ec2:TerminateInstances" in actions:
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": "gensweep"}}
    allowed = ACCOUNT["Parameters"]["InstanceTypes"]["Default"].split(",")
    assert NODES["gpu"]["InstanceType"] in allowed
