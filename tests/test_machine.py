"""What a process may use of its machine."""

import pytest

from gensweep import machine


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A made-up tree of control groups: files by path, and the group of this process, as /proc says."""

    def make(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            file = tmp_path / "fs" / name.replace("__", "/").replace("_DOT_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "fs")
        monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
        monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    return make


def test_without_control_groups_all_of_the_machine_is_usable(groups):
    groups("0::/a\n")
    assert machine.usable_cores() == 8
    assert machine.usable_memory() > 2**28


def test_the_tightest_limit_on_the_way_to_the_root_counts(groups):
    groups(
        "0::/a/b\n",
        a__b__memory_DOT_max="max",
        a__memory_DOT_max=str(2**20),
        a__b__cpu_DOT_max="150000 100000",
        a__cpu_DOT_max="max 100000",
    )
    assert machine.usable_memory() == 2**20
    assert machine.usable_cores() == 2


def test_a_container_sees_its_own_limits_as_the_roots(groups):
    groups("0::/not/seen\n", memory_DOT_max=str(2**21), cpu_DOT_max="400000 100000")
    assert (machine.usable_memory(), machine.usable_cores()) == (2**21, 4)


def test_control_groups_of_the_first_version_count_too(groups):
    groups(
        "5:memory:/a\n3:cpu,cpuacct:/a\n1:name=systemd:/a\n",
        memory__a__memory_DOT_limit_in_bytes=str(2**22),
        **{"cpu,cpuacct__a__cpu_DOT_cfs_quota_us": "300000", "cpu,cpuacct__a__cpu_DOT_cfs_period_us": "100000"},
    )
    assert (machine.usable_memory(), machine.usable_cores()) == (2**22, 3)
