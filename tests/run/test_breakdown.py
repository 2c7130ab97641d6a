"""The driver around its loop, without Ray: what is measured first, and what it says when the loop raises."""

from __future__ import annotations

import errno
from contextlib import contextmanager, nullcontext

import pytest
from trivial_sweeps import plan

from gensweep.errors import ConfigError, GensweepError
from gensweep.run import driver as run
from gensweep.sweep.folder import SweepFolder


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(run, "connected", nullcontext)
    monkeypatch.setattr(run, "is_local", lambda: True)  # though another test may have connected to Ray
    monkeypatch.setattr("gensweep.run.nodes.living_nodes", lambda: [{"Resources": {"CPU": 2}, "Labels": {}}])
    monkeypatch.setattr("gensweep.run.driver._check_paths", lambda *_: None)


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


def test_partial_checkpoints_are_removed(broken_down, tmp_path, monkeypatch):
    trial = tmp_path / "a" / "checkpoints" / "t0000"

    @contextmanager
    def connected(cpus):
        yield
        for name in ("000000000100", ".000000000200.part"):
            (trial / name).mkdir(parents=True)

    monkeypatch.setattr(run, "connected", connected)
    broken_down(GensweepError("enough"))
    assert [each.name for each in trial.iterdir()] == ["000000000100"]


def test_expected_error_is_shown_without_a_traceback(broken_down):
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
def test_unexpected_error_names_the_log_with_its_traceback(broken_down, problem, words):
    said, folder = broken_down(problem)
    log = folder / "logs" / "driver.log"
    assert said.startswith(words)
    assert said.endswith(f"; traceback: {log}")
    assert "in broken" in log.read_text()


@pytest.mark.parametrize(("hosts", "addable"), [(["here", "there"], 0), (["here"], 1)])
def test_relative_paths_are_refused_if_trials_may_train_elsewhere(monkeypatch, hosts, addable):
    monkeypatch.setattr("gensweep.run.nodes.living_nodes", lambda: [{"NodeManagerHostname": host} for host in hosts])
    monkeypatch.setattr("gensweep.run.nodes.addable_nodes", lambda: addable)
    with pytest.raises(ConfigError) as refused:
        run._check_paths(plan(relative_paths=("data.path: pictures", "evaluation.against: real/")))
    assert len(refused.value.problems) == 2
    run._check_paths(plan())
