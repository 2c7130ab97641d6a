"""Which Ray a sweep connects to."""

from __future__ import annotations

import socket

import pytest

from gensweep.errors import GensweepError
from gensweep.run import cluster


def test_an_address_where_nobody_answers_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        refused = pytest.raises(GensweepError, match=f"no Ray cluster answers at RAY_ADDRESS={address}")
        with refused, cluster.connected():
            pass


def test_what_ray_says_of_a_cluster_that_it_cannot_use_is_told_whole(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Version mismatch: the cluster has\n    Ray: 2.57\nThis process has\n    Ray: 2.60")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", fail)
    words = (
        "the Ray cluster at auto cannot be used: Version mismatch: the cluster has Ray: 2.57 This process has Ray: 2.60"
    )
    with pytest.raises(GensweepError, match=f"^{words}$"), cluster.connected():
        pass
