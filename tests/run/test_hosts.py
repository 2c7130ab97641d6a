"""What is asked of the machines of a cluster before a sweep starts, with Ray's answers made up."""

from __future__ import annotations

import pytest
from trivial_sweeps import plan

from gensweep.errors import ConfigError, GensweepError
from gensweep.run import hosts
from gensweep.run.hosts import check_hosts
from gensweep.sweep.folder import SweepFolder


def node(host, cpus=4.0, number=1):
    return {"NodeManagerHostname": host, "NodeID": f"{host}-{number}", "Resources": {"CPU": cpus}}


@pytest.fixture
def cluster(monkeypatch):
    """Makes a cluster of nodes, the first being the driver's; `asked` are the machines that were asked."""
    asked, where = [], []

    def make(*nodes, answer=None):
        monkeypatch.setattr(hosts, "living_nodes", lambda: list(nodes))
        monkeypatch.setattr(hosts, "own_node", lambda: where[-1] if where else nodes[0])

        def told(host, ask):
            asked.append(host)
            where.append(next(each for each in nodes if each["NodeManagerHostname"] == host))
            said = answer(ask) if answer else ask()
            where.pop()
            return said

        def ask_hosts(found, ask):
            return {host: said for host in found if (said := told(host, ask)) is not None}

        monkeypatch.setattr(hosts, "ask_hosts", ask_hosts)
        return asked

    return make


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder(tmp_path, "a")
    made.path.mkdir()
    return made


def test_one_machine_is_asked_nothing_however_many_nodes_it_has(cluster, folder):
    asked = cluster(node("here"), node("here", number=2))
    check_hosts(plan(relative_paths=("data.path: pictures",)), folder, None)
    assert asked == []
    assert list(folder.path.iterdir()) == []


def test_machines_that_do_not_see_the_sweeps_folder_are_named_with_the_option_to_give(cluster, folder):
    asked = cluster(node("head"), node("one"), node("two"), answer=lambda ask: "unseen")
    with pytest.raises(ConfigError, match=r"one, two cannot read; .*--storage s3://BUCKET/sweeps"):
        check_hosts(plan(), folder, None)
    assert asked == ["one", "two"]
    assert list(folder.path.iterdir()) == []


def test_a_cluster_whose_workers_are_still_to_come_needs_storage(cluster, folder, tmp_path):
    cluster(node("head", cpus=0.0))
    with pytest.raises(ConfigError, match="--storage"):
        check_hosts(plan(), folder, None)
    check_hosts(plan(), folder, str(tmp_path / "shared"))


def test_each_machine_tries_the_storage(cluster, folder, tmp_path):
    asked = cluster(node("head"), node("one"))
    check_hosts(plan(), folder, str(tmp_path / "shared"))
    assert asked == ["one"]
    assert [file for file in (tmp_path / "shared").rglob("*") if file.is_file()] == []
    cluster(node("head"), node("one"), answer=lambda ask: "the storage cannot be used from one")
    with pytest.raises(GensweepError, match="cannot be used from one"):
        check_hosts(plan(), folder, str(tmp_path / "shared"))


def test_relative_paths_are_refused_all_at_once_where_they_mean_several_things(cluster, folder, tmp_path):
    cluster(node("head"), node("one"))
    paths = ("data.path: pictures", "evaluation.against: real/")
    with pytest.raises(ConfigError) as refused:
        check_hosts(plan(relative_paths=paths), folder, str(tmp_path / "shared"))
    assert len(refused.value.problems) == 2
    assert "data.path: pictures: a relative path means something else on each machine" in refused.value.problems[0]


def too_small(offered):
    return f"a worker of {offered['CPU']:g} has too little" if offered["CPU"] < 4 else None


def test_a_training_step_that_fits_no_machine_is_refused_once(cluster, folder, tmp_path):
    asked = cluster(node("head", cpus=0.0), node("one", cpus=2.0), node("two", cpus=2.0))
    with pytest.raises(ConfigError) as refused:
        check_hosts(plan(memory_problem=too_small), folder, str(tmp_path / "shared"))
    assert refused.value.problems == ("a worker of 2 has too little",)
    assert asked == ["one", "two"]
