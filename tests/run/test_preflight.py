"""What is refused before a sweep trains, without Ray."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from gensweep.config import checked_sweep, load_sweep
from gensweep.errors import ConfigError, GensweepError
from gensweep.run import allotment, preflight
from gensweep.run.core_claims import CoreClaim
from gensweep.run.preflight import (
    all_findings,
    check_memory,
    largest_trials,
    memory_findings,
    place_findings,
    refuse,
)
from gensweep.sweep.folder import SweepFolder

SPACE = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"
ONE = ("resources.concurrent=1", "search.trials=1")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with 1 GiB of memory, and folders that can be written."""
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(preflight, "usable_memory", lambda: 2**30)


def sweep_of(*overrides):
    return load_sweep(SPACE, overrides=[*ONE, *overrides])


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path / "sweeps", "a")


@pytest.fixture(scope="module")
def largest():
    return largest_trials(sweep_of())


def test_a_sweep_that_fits_is_let_pass_and_no_folder_of_it_is_made(tmp_path, folder):
    refuse(place_findings(folder, None))
    assert list(tmp_path.iterdir()) == []
    assert check_memory(sweep_of(), largest_trials(sweep_of()), folder) == []
    assert not folder.path.exists()


@pytest.mark.parametrize("which", ["sweeps", "cache", "storage", "temporary files"])
def test_an_unwritable_folder_is_refused_with_an_alternative(tmp_path, monkeypatch, which):
    (tmp_path / "file").touch()
    broken = tmp_path / "file" / "below"  # for root, too
    places = {name: tmp_path / name for name in ("sweeps", "storage")} | {which: broken}
    monkeypatch.setenv("GENSWEEP_CACHE", str(places.get("cache", tmp_path)))
    monkeypatch.setenv("TMPDIR", str(places.get("temporary files", tmp_path)))
    with pytest.raises(GensweepError) as refused:
        refuse(place_findings(SweepFolder(places["sweeps"], "a"), str(places["storage"])))
    (line,) = str(refused.value).splitlines()
    option = {
        "sweeps": "--sweeps",
        "cache": "GENSWEEP_CACHE",
        "storage": "--storage",
        "temporary files": "TMPDIR",
    }[which]
    assert re.fullmatch(rf"{which}: {broken}.* cannot be created: a part of its path is a file; .* \({option}\)", line)


@pytest.mark.trains
def test_of_each_family_the_trials_that_take_most_are_looked_at(largest):
    kinds = [each.trial.kind("family") for each in largest]
    assert {kinds.count(kind) for kind in ("diffusion", "gan")} == {2}
    widths = [each.trial.flat()["network.width"] for each in largest if each.trial.kind("family") == "gan"]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 2


@pytest.mark.trains
def test_a_step_too_large_for_any_worker_is_refused_with_advice(folder):
    sweep = sweep_of("training.batch_size=50000", "budget={images: 100000}")
    with pytest.raises(ConfigError) as refused:
        check_memory(sweep, largest_trials(sweep), folder)
    line = refused.value.problems[0]
    assert "family=diffusion, network.kind=unet, network.width=24" in line
    assert "parameters) with training.batch_size=50000 needs" in line
    assert "a worker has 1 GiB (1 at once share 1 GiB)" in line
    batch, parts = re.search(
        r"a training\.batch_size of (\d+) would fit, or training\.accumulation=(\d+)", line
    ).groups()
    for changes in (f"training.batch_size={batch}", f"training.accumulation={parts}"):
        changed = sweep_of("training.batch_size=50000", "budget={images: 100000}", changes)
        first, *_ = memory_findings(changed, largest_trials(changed))
        assert first.problem is None
    for too_much in (f"training.batch_size={int(batch) + 1}", f"training.accumulation={int(parts) - 1}"):
        changed = sweep_of("training.batch_size=50000", "budget={images: 100000}", too_much)
        first, *_ = memory_findings(changed, largest_trials(changed))
        assert first.problem is not None


@pytest.mark.trains
def test_a_resumed_sweep_is_only_warned_of_scarce_memory(folder):
    sweep = sweep_of("training.batch_size=50000", "budget={images: 100000}")
    folder.create({"sweep": {}})
    lines = check_memory(sweep, largest_trials(sweep), folder)
    assert lines
    assert all("would fit" in line for line in lines)


def test_a_network_larger_than_the_machine_is_refused_unbuilt():
    base = {"data": {"kind": "digits"}, "family": {"kind": "gan"}, "network": {"kind": "dcgan", "width": 8192}}
    sweep = checked_sweep({"name": "a", "base": base, "search": {"trials": 1}})
    with pytest.raises(ConfigError) as refused:
        largest_trials(sweep)
    (line,) = refused.value.problems
    assert re.fullmatch(
        r"memory: family=gan, network\.kind=dcgan, network\.width=8192 has [\d,]+ parameters, which with gradients and "
        r"the moments of Adam need [\d.e+]+ GiB, but there are 1 GiB; choose a smaller network",
        line,
    )


@pytest.mark.trains
def test_trials_at_once_share_the_memory_of_the_machine(largest, monkeypatch):
    monkeypatch.setattr(allotment, "local_node", lambda resources: {"CPU": 4.0})
    sweep = load_sweep(SPACE, overrides=["search.trials=9"])
    problems = [finding.problem for finding in memory_findings(sweep, largest)]
    assert all("a worker has 0.25 GiB (4 at once share 1 GiB); not even one image fits" in each for each in problems)


@pytest.mark.trains
def test_a_gpu_is_shared_by_those_who_ask_for_a_part_of_it(largest, monkeypatch):
    monkeypatch.setattr(preflight.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(preflight.torch.cuda, "device_count", lambda: 1)
    whole = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(preflight.torch.cuda, "get_device_properties", lambda index: whole)
    details = [each.detail for each in memory_findings(sweep_of("resources.gpus_per_worker=0.5"), largest)]
    assert all(detail.endswith("a worker has 4 GiB (0.5 of a GPU with 8 GiB)") for detail in details)


@pytest.mark.trains
def test_a_dry_run_has_a_line_for_all_of_it_and_says_who_uses_the_cores(folder, monkeypatch):
    monkeypatch.setattr(preflight, "other_claims", lambda: [CoreClaim("b", 7, 1)])
    findings = list(all_findings(sweep_of(), largest_trials(sweep_of()), folder, None))
    names = ["sweeps", "temporary files", "cache", *["memory"] * 4, "cores"]
    assert [finding.name for finding in findings] == names
    assert findings[-1].detail.startswith("sweep b (process 7) uses 1 of this machine's")
