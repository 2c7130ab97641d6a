from dataclasses import replace

import pytest

from gensweep.sweep.node_facts import NodeFacts, node_facts, node_problems

HERE = NodeFacts("here", {"python": "3.11.9", "ray": "2.60.0"}, True, 80.0, 0, (), None)


def problems(there, gpus=0, clock=0.0):
    return list(node_problems(there, HERE, gpus=gpus, clock=clock))


def test_a_machine_like_the_drivers_has_no_problem():
    assert problems(HERE, clock=-0.5) == []
    assert problems(replace(HERE, gpus=8), gpus=8) == []


@pytest.mark.parametrize(
    ("there", "offers", "says"),
    [
        ({"versions": {"python": "3.11.9", "ray": "2.59.0"}}, {}, "install ray 2.60.0 there"),
        ({"versions": {"python": "3.11.9", "ray": None}}, {}, "ray is missing there"),
        ({"token": False}, {}, "RAY_AUTH_MODE=token on every machine"),
        ({"free_gib": 0.5}, {}, "0.5 GiB of disk are free"),
        ({"gpus": 1}, {"gpus": 2}, "offers 2 GPUs, but PyTorch can use 1"),
        ({"storage_problem": "no s3://bucket"}, {}, "no s3://bucket"),
        ({}, {"clock": -60.0}, "-60 s off"),
    ],
)
def test_what_differs_is_said_with_what_to_do(there, offers, says):
    (problem,) = problems(replace(HERE, **there), **offers)
    assert says in problem


def test_a_machine_knows_its_versions_disk_and_data(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    (tmp_path / "cifar10").mkdir()
    facts = node_facts(data=("cifar10", "photos"))
    assert facts.data == ("cifar10",)
    assert facts.token
    assert facts.free_gib > 0
    assert set(facts.versions) == {"python", "gensweep", "torch", "ray"}


def test_a_storage_that_cannot_be_written_is_a_problem_of_the_machine(tmp_path):
    (tmp_path / "file").write_text("")
    assert node_facts(storage=str(tmp_path / "store")).storage_problem is None
    assert "file" in node_facts(storage=str(tmp_path / "file" / "store")).storage_problem
