"""Work on a trained model runs here, or on a node of the cluster as if it ran here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gensweep.errors import ConfigError
from gensweep.run import nodes
from gensweep.run.near_gpus import ReturnedPath, SentPath, run_near_gpus


def shout(folder, pairs, output):
    """Reads the files, writes one of them in capitals, and says who it is."""
    import os
    import sys

    sys.stdout.write("data\n")
    sys.stderr.write("half way\n")
    texts = [file.read_text() for file, _ in pairs]
    output.mkdir(exist_ok=True)
    (output / "loud.txt").write_text((folder / "words.txt").read_text().upper() + "".join(texts))
    return os.getpid(), [scale for _, scale in pairs], str(folder)


def refuse(word):
    from gensweep.errors import ConfigError

    raise ConfigError(f"{word}: is not allowed")


def stumble():
    raise ZeroDivisionError("as the test wants it")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "words.txt").write_text("sent")
    (tmp_path / "kept" / "more").write_text(" and more")
    (tmp_path / "model").symlink_to("kept")
    (tmp_path / "more.txt").symlink_to(tmp_path / "kept" / "more")
    return SentPath(tmp_path / "model"), [(SentPath(tmp_path / "more.txt"), 0.5)], ReturnedPath(tmp_path / "out")


def test_without_a_cluster_the_work_gets_the_files_themselves(files, tmp_path, monkeypatch, capsys):
    import os

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert run_near_gpus(shout, *files) == (os.getpid(), [0.5], str(tmp_path / "model"))
    assert (tmp_path / "out" / "loud.txt").read_text() == "SENT and more"
    assert capsys.readouterr() == ("data\n", "half way\n")


@pytest.fixture
def cluster(ray_cluster, monkeypatch):
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.get_runtime_context().gcs_address)
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.ray
def test_on_a_cluster_files_go_and_come_and_what_is_printed_appears_here(files, tmp_path, cluster, capfd):
    import os

    pid, scales, folder = run_near_gpus(shout, *files)
    assert pid != os.getpid()
    assert scales == [0.5]
    assert Path(folder).name == "model"
    assert Path(folder) != tmp_path / "model"
    assert (tmp_path / "out" / "loud.txt").read_text() == "SENT and more"
    assert capfd.readouterr() == ("data\n", "half way\n")


@pytest.mark.ray
def test_user_errors_come_back_unchanged_others_with_a_cause(cluster):
    with pytest.raises(ConfigError, match=r"^colour: is not allowed$"):
        run_near_gpus(refuse, "colour")
    with pytest.raises(ZeroDivisionError, match="as the test wants it"):
        run_near_gpus(stumble)


@pytest.mark.ray
def test_work_that_no_node_can_run_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(nodes, "node_resources", lambda: [{"CPU": 0.0}])
    with pytest.raises(ConfigError, match="0 CPU on 1 node"):
        run_near_gpus(refuse, "colour")
