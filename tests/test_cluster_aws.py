"""What docs/cluster-aws.yaml lets the head do: judged by an evaluator of policies, and on what Ray's provider calls.

moto stands in for AWS.  It does not look at conditions, so policies are evaluated here, by the rules of IAM for
allowing statements: action, resource and every condition must match.  This template has no denying ones.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")]

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "docs" / "cluster-aws.yaml"
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
WORKER = CLUSTER["available_node_types"]["gpu"]["node_config"]
ACCOUNT, REGION = "123456789012", CLUSTER["provider"]["region"]
GROUP, FOREIGN_GROUP = "sg-0a1b2c3d", "sg-99999999"
WORKER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/gensweep-worker"
DRY = "InsufficientInstanceCapacity"
OURS = {"aws:ResourceTag/ray-cluster-name": "gensweep"}


# --- the template, and what it means ----------------------------------------------------------------------------------


class Template(yaml.SafeLoader):
    """Reads CloudFormation's functions as a stack in one account and region resolves them."""


VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "SecurityGroup.GroupId": GROUP,
    "WorkerRole.Arn": WORKER_ROLE,
    "InstanceTypes": ["g6.xlarge"],
    "Bucket.Arn": "arn:aws:s3:::results",
}
Template.add_constructor("!Sub", lambda _, node: re.sub(r"\$\{([\w:.]+)\}", lambda m: VALUES[m[1]], node.value))
Template.add_constructor("!Ref", lambda _, node: VALUES.get(node.value, node.value))
Template.add_constructor("!GetAtt", lambda _, node: VALUES.get(node.value, node.value))
Template.add_multi_constructor("!", lambda loader, suffix, node: suffix)
STACK = yaml.load(TEMPLATE.read_text(), Loader=Template)
HEAD = STACK["Resources"]["HeadRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def condition_holds(operator: str, allowed: list[str], actual: Any) -> bool:
    if operator == "StringEquals":
        return actual in allowed
    if operator == "ForAllValues:StringEquals":
        return all(value in allowed for value in as_list(actual or []))
    raise NotImplementedError(operator)


def allows(action: str, resource: str, context: Mapping[str, Any] = {}) -> bool:
    """Whether a statement of the head's role allows an action on a resource in a request with these condition keys."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        and all(
            condition_holds(operator, as_list(allowed), context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, allowed in keys.items()
        )
        for statement in HEAD
    )


def arn(kind: str, name: str = "*") -> str:
    return f"arn:aws:ec2:{REGION}:{'' if kind in ('image', 'snapshot') else ACCOUNT}:{kind}/{name}"


INSTANCE = arn("instance", "i-0123456789abcdef0")


# --- what the head may not do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [{}, {"aws:ResourceTag/ray-cluster-name": "another"}], ids=["untagged", "another"])
def test_a_foreign_machine_can_be_neither_tagged_as_ours_nor_ended(tags):
    for keys in (["ray-cluster-name"], ["ray-node-status"], ["Name"]):
        assert not allows("ec2:CreateTags", INSTANCE, {**tags, "aws:TagKeys": keys})
    assert not allows("ec2:TerminateInstances", INSTANCE, tags)
    assert allows("ec2:TerminateInstances", INSTANCE, OURS)


def test_machines_of_the_cluster_take_only_the_tags_of_their_progress():
    assert allows("ec2:CreateTags", INSTANCE, {**OURS, "aws:TagKeys": ["ray-node-status"]})
    assert not allows("ec2:CreateTags", INSTANCE, {**OURS, "aws:TagKeys": ["ray-node-status", "owner"]})
    assert not allows("ec2:CreateTags", arn("volume", "vol-1"), {**OURS, "aws:TagKeys": ["ray-node-status"]})


@pytest.mark.parametrize(
    ("instance_type", "cluster", "allowed"),
    [("g6.xlarge", "gensweep", True), ("p5.48xlarge", "gensweep", False), ("g6.xlarge", None, False)],
)
def test_only_listed_types_with_the_tag_of_the_cluster_can_be_started(instance_type, cluster, allowed):
    context = {"ec2:InstanceType": instance_type, "aws:RequestTag/ray-cluster-name": cluster}
    assert allows("ec2:RunInstances", arn("instance"), context) is allowed


def test_a_machine_cannot_be_started_in_a_foreign_security_group_or_with_a_foreign_key():
    assert not allows("ec2:RunInstances", arn("security-group", FOREIGN_GROUP))
    assert not allows("ec2:RunInstances", arn("key-pair", "admin"))


@pytest.mark.parametrize("role", ["gensweep-head", "Administrator"])
def test_no_other_role_than_the_workers_can_be_passed(role):
    to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert not allows("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", to_ec2)
    assert not allows("iam:PassRole", WORKER_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"})
    assert allows("iam:PassRole", WORKER_ROLE, to_ec2)


def test_every_statement_on_machines_names_the_account_or_a_condition():
    reading = {"ec2:DescribeInstances", "ec2:DescribeInstanceTypes"}
    for statement in HEAD:
        if not set(as_list(statement["Action"])) <= reading:
            assert "*" not in as_list(statement["Resource"])
            assert not any("*" in action for action in as_list(statement["Action"]))


# --- what Ray does ----------------------------------------------------------------------------------------------------


def needed(operation: str, request: Mapping[str, Any], tags: Mapping[str, Mapping[str, str]]) -> Iterator[tuple]:
    """The (action, resource, context) that EC2 checks for a call, as its service authorization reference lists them."""
    if operation.startswith("Describe"):
        yield f"ec2:{operation}", "*", {}
    elif operation == "RunInstances":
        requested = {spec["ResourceType"]: spec["Tags"] for spec in request["TagSpecifications"]}
        for kind in ("instance", "volume"):
            keys = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in requested.get(kind, [])}
            yield "ec2:RunInstances", arn(kind), {**keys, "ec2:InstanceType": request["InstanceType"]}
            yield "ec2:CreateTags", arn(kind), {**keys, "ec2:CreateAction": "RunInstances"}
        for kind in ("network-interface", "image", "snapshot", "spot-instances-request"):
            yield "ec2:RunInstances", arn(kind, "x-1"), {}
        yield "ec2:RunInstances", arn("subnet", request["SubnetId"]), {}
        yield "ec2:RunInstances", arn("key-pair", request["KeyName"]), {}
        for group in request["SecurityGroupIds"]:
            yield "ec2:RunInstances", arn("security-group", group), {}
        profile = request["IamInstanceProfile"]["Name"]
        yield "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{profile}", {"iam:PassedToService": "ec2.amazonaws.com"}
    else:
        for name in request.get("Resources") or request["InstanceIds"]:
            keys = {f"aws:ResourceTag/{key}": value for key, value in tags.get(name, {}).items()}
            keys |= {"aws:TagKeys": [tag["Key"] for tag in request.get("Tags", [])]}
            yield f"ec2:{operation}", arn("instance", name), keys


class Account:
    """A simulated AWS account, with Ray's node provider as the head makes it, and every call that it made."""

    def __init__(self, provider: dict[str, Any]) -> None:
        boto3 = importlib.import_module("boto3")
        self.ec2 = boto3.client("ec2", region_name=REGION)
        self.subnet = self.ec2.describe_subnets()["Subnets"][0]
        group = {"GroupName": "gensweep", "Description": "-", "VpcId": self.subnet["VpcId"]}
        self.group = self.ec2.create_security_group(**group)["GroupId"]
        self.image = self.ec2.describe_images()["Images"][0]["ImageId"]
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused: dict[str, str] = {}
        """The error that launches get in a market, spot or on-demand."""
        providers = importlib.import_module("ray.autoscaler._private.providers")
        self.provider = providers._get_node_provider(provider, "gensweep", use_cache=False)
        for resource in (self.provider.ec2, self.provider.ec2_fail_fast):
            resource.meta.client.meta.events.register("provide-client-params.ec2.*", self.note)
            resource.meta.client.meta.events.register("before-send.ec2.RunInstances", self.refuse)

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, dict(params)))

    def refuse(self, **_: Any) -> None:
        market = "spot" if "InstanceMarketOptions" in self.calls[-1][1] else "on-demand"
        if market in self.refused:
            error = {"Error": {"Code": self.refused[market], "Message": "not now"}}
            raise importlib.import_module("botocore.exceptions").ClientError(error, "RunInstances")

    def launch(self, count: int = 1, **changed: Any) -> list[str]:
        """Nodes as the autoscaler of the head launches workers."""
        config = {
            **WORKER,
            "ImageId": self.image,
            "SubnetIds": [self.subnet["SubnetId"]],
            "SecurityGroupIds": [self.group],
            "KeyName": f"ray-autoscaler_{REGION}",
            **changed,
        }
        tags = {"ray-node-type": "worker", "ray-node-status": "uninitialized", "ray-user-node-type": "gpu"}
        self.provider.create_node_with_resources_and_labels(config, tags, count, {}, {})
        return self.provider.non_terminated_nodes({})

    def tags(self, node: str) -> dict[str, str]:
        (found,) = self.ec2.describe_instances(InstanceIds=[node])["Reservations"]
        return {tag["Key"]: tag["Value"] for tag in found["Instances"][0]["Tags"]}


@pytest.fixture
def account(monkeypatch) -> Iterator[Callable[..., Account]]:
    """Makes the account with the provider of cluster.yaml, or one that is changed."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    utils = importlib.import_module("ray.autoscaler._private.aws.utils")
    boto3 = importlib.import_module("boto3")
    moto = importlib.import_module("moto")
    with moto.mock_aws():
        iam = boto3.client("iam")
        iam.create_instance_profile(InstanceProfileName="gensweep-worker")
        for cache in (utils.resource_cache, utils.client_cache):
            cache.cache_clear()
        yield lambda **changed: Account({**CLUSTER["provider"], **changed})


def test_everything_that_rays_provider_calls_for_workers_is_allowed(account):
    aws = account()
    aws.refused = {"spot": DRY}  # so that both ways to start one are seen
    nodes = aws.launch(count=2)
    for status in ("waiting-for-ssh", "up-to-date"):
        aws.provider.set_node_tags(nodes[0], {"ray-node-status": status, "ray-runtime-config": "1"})
    aws.provider.set_node_tags(nodes[0], {"ray-file-mounts-contents": "2"})
    tags = {node: aws.tags(node) for node in nodes}
    aws.provider.terminate_node(nodes[0])
    aws.provider.terminate_nodes(nodes[1:])
    assert {name for name, _ in aws.calls} >= {"RunInstances", "DescribeInstances", "CreateTags", "TerminateInstances"}
    for operation, request in aws.calls:
        for action, resource, context in needed(operation, request, tags):
            resource = resource.replace(aws.group, GROUP)
            assert allows(action, resource, context), (action, resource, context)


def test_workers_bear_the_tags_that_a_bill_is_sorted_by_on_machine_and_disk(account):
    (node,) = (aws := account()).launch()
    tags = {"ray-cluster-name": "gensweep", "project": "gensweep"}
    assert aws.tags(node).items() >= tags.items()
    (volume,) = aws.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [node]}])["Volumes"]
    assert {tag["Key"]: tag["Value"] for tag in volume["Tags"]} == tags


def markets(aws: Account) -> list[str]:
    """How each launch that was tried was to be paid for."""
    runs = [request for name, request in aws.calls if name == "RunInstances"]
    return ["spot" if "InstanceMarketOptions" in run else "on-demand" for run in runs]


def test_workers_are_spot_while_there_is_spot(account):
    (node,) = (aws := account()).launch()
    assert markets(aws) == ["spot"]
    assert aws.tags(node)["gensweep-market"] == "spot"


def test_workers_are_launched_on_demand_while_spot_is_dry_and_as_spot_again_later(account):
    aws = account()
    aws.refused = {"spot": DRY}
    (node,) = aws.launch()
    assert markets(aws)[-1] == "on-demand"
    assert aws.tags(node)["gensweep-market"] == "on-demand"
    aws.refused = {}
    aws.launch()
    assert markets(aws)[-1] == "spot"


def test_a_launch_that_fails_for_another_reason_is_not_paid_for_on_demand(account):
    launch_error = importlib.import_module("ray.autoscaler.node_launch_exception").NodeLaunchException
    aws = account()
    aws.refused = {"spot": "InvalidSubnetID.NotFound"}
    with pytest.raises(launch_error, match=r"InvalidSubnetID\.NotFound"):
        aws.launch()
    assert set(markets(aws)) == {"spot"}


def test_with_rays_own_provider_a_worker_waits_for_spot(account):
    launch_error = importlib.import_module("ray.autoscaler.node_launch_exception").NodeLaunchException
    aws = account(type="aws")
    aws.refused = {"spot": DRY}
    with pytest.raises(launch_error, match=DRY):
        aws.launch()
    assert set(markets(aws)) == {"spot"}


def test_rays_autoscaler_does_not_turn_to_another_node_type_when_a_launch_fails():
    """The reason for the provider: once this fails, two node types with priorities will do."""
    monitor = importlib.import_module("ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor")
    messages = importlib.import_module("ray.core.generated.instance_manager_pb2")
    seen = monitor.CloudResourceMonitor()
    failed, late = messages.Instance.ALLOCATION_FAILED, messages.Instance.ALLOCATION_TIMEOUT
    seen.notify([messages.InstanceUpdateEvent(new_instance_status=failed, instance_type="spot")])
    assert seen.get_resource_availabilities() == {}
    seen.notify([messages.InstanceUpdateEvent(new_instance_status=late, instance_type="spot")])
    assert seen.get_resource_availabilities() == {"spot": 0}


# --- the template -----------------------------------------------------------------------------------------------------


def test_the_linter_of_cloudformation_finds_nothing():
    linter = "from cfnlint.runner import main; main()"
    done = subprocess.run([sys.executable, "-c", linter, str(TEMPLATE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_workers_of_the_cluster_are_of_listed_types():
    listed = STACK["Parameters"]["InstanceTypes"]["Default"].split(",")
    workers = {name: node for name, node in CLUSTER["available_node_types"].items() if name != "head"}
    assert {node["node_config"]["InstanceType"] for node in workers.values()} <= set(listed)


def test_a_budget_counts_what_bears_the_clusters_tag_and_warns_by_mail():
    budget = STACK["Resources"]["Budget"]["Properties"]
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:ray-cluster-name$gensweep"]}
    (notice,) = budget["NotificationsWithSubscribers"]
    assert notice["Notification"]["Threshold"] == 80
