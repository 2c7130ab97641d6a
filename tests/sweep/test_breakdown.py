"""The driver around its loop, without Ray: what is measured first, and what it says when the loop raises."""

from __future__ import annotations

import errno
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
from ray.tune.execution import class_cache
from trivial_sweeps import plan

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep import run
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.node_types import ClusterNodes


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(run, "connected", nullcontext)
    monkeypatch.setattr(run, "is_local", lambda: True)  # though another test may have connected to Ray
    monkeypatch.setattr("gensweep.sweep.capacity.cluster_nodes", lambda _: ClusterNodes([{"CPU": 2}]))
    monkeypatch.setattr("gensweep.sweep.hosts.check_hosts", lambda *_: None)


@pytest.mark.parametrize("cpus", [1, 2])
def test_what_was_measured_goes_for_the_whole_sweep(without_ray, tmp_path, monkeypatch, cpus):
    monkeypatch.setattr(run, "_tune", lambda *_: False)
    found = {"sweep": {"formats": "the fastest"}}
    resources = Resources(cpus_per_worker=cpus)  # with one the measuring has begun before Ray starts
    asked = replace(plan(resources=resources), measure=lambda asked: replace(asked, settings=found))
    run.run_plan(asked, root=tmp_path)
    assert SweepFolder(tmp_path, "a").settings["sweep"] == found["sweep"]


def test_a_cluster_that_cannot_run_a_sweep_refuses_it_before_anything_is_measured(without_ray, tmp_path, monkeypatch):
    def refuse(*_):
        raise ConfigError("blind")

    monkeypatch.setattr(run, "is_local", lambda: False)
    monkeypatch.setattr("gensweep.sweep.hosts.check_hosts", refuse)
    with pytest.raises(ConfigError, match="blind"):
        run.run_plan(replace(plan(), measure=pytest.fail), root=tmp_path)


@pytest.fixture
def broken_down(without_ray, tmp_path, monkeypatch):
    """What a sweep says of a problem that its loop raised, and its folder."""

    def broken_down(problem):
        def broken(*_):
            raise problem

        monkeypatch.setattr(run, "_tune", broken)
        result = run.run_plan(plan(), root=tmp_path)
        folder = SweepFolder(tmp_path, "a")
        assert (result.state.status, result.exit_code, folder.state().error) == ("failed", 1, result.state.error)
        return result.state.error, folder.path

    return broken_down


def test_what_a_worker_that_is_ended_has_saved_in_part_is_removed(broken_down, tmp_path, monkeypatch):
    trial = tmp_path / "a" / "checkpoints" / "t0000"

    @contextmanager
    def connected(cpus):
        yield
        for name in ("000000000100", ".000000000200.part"):
            (trial / name).mkdir(parents=True)

    monkeypatch.setattr(run, "connected", connected)
    broken_down(GensweepError("enough"))
    assert [each.name for each in trial.iterdir()] == ["000000000100"]


def test_a_sweep_that_breaks_down_says_what_the_user_can_mend(broken_down):
    said, folder = broken_down(GensweepError("make room"))
    assert said == "make room"
    assert not (folder / "logs").exists()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (RuntimeError("not expected"), "RuntimeError: not expected"),
        (OSError(errno.ENOSPC, "full", "/some/file"), "no space is left for /some/file"),
    ],
)
def test_a_sweep_that_breaks_down_for_another_cause_names_a_file_with_the_traceback(broken_down, problem, words):
    said, folder = broken_down(problem)
    log = folder / "logs" / "driver.log"
    assert said.startswith(words)
    assert said.endswith(f"; traceback: {log}")
    assert "in broken" in log.read_text()


def test_keys_are_held_back_from_a_local_ray_and_from_no_later_one(broken_down, monkeypatch):
    handed_on, before, during = class_cache.ENV_VARS_TO_PROPAGATE, set(class_cache.ENV_VARS_TO_PROPAGATE), []
    monkeypatch.setattr("gensweep.sweep.hosts.check_hosts", lambda *_: during.append(set(handed_on)))
    broken_down(GensweepError("enough"))
    assert "AWS_SECRET_ACCESS_KEY" in before
    assert during == [{name for name in before if not name.startswith("AWS_")}]
    assert handed_on == before
