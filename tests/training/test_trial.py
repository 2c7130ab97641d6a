"""A whole trial: reports, checkpoints, stopping and going on."""

import functools
import itertools
import json
import math
import re
import shutil
from dataclasses import replace

import pytest
import tiny
import torch
from list_reporter import ListReporter

from gensweep.families.family import FAMILIES
from gensweep.results import UNBIASED_PARTS
from gensweep.training import timing, trial
from gensweep.training.checkpoint import load_tensors, verify
from gensweep.training.evaluation import evaluate
from gensweep.training.learner_state import load_network
from gensweep.training.reporter import StopTrial, WorkerContext
from gensweep.training.trial import run_trial

pytestmark = pytest.mark.trains

PROGRESS = {"loss", "images_per_second", "train_seconds", "device_seconds", "memory_bytes", "flops"}
PROGRESS |= {"scoring_flops", "scoring_device_seconds"}
CHECKPOINT = PROGRESS | {"fd", "sample_seconds", "evaluate_seconds", "params", "sample_flops"}
CHECKPOINT |= {"activation_bytes", "diversity", *(f"fd/{part}" for part in UNBIASED_PARTS)}
COUNTS = {}
"""By name and kind; of the first training of each kind."""


def run(kind, folder, reporter=None, resume=(), evaluator=None, **settings):
    reporter = reporter or ListReporter()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("training_flops", "activation_bytes"):
            patch.setattr(trial, name, counted_once(name, kind))
        run_trial(
            tiny.learner(kind, **settings),
            replace(evaluator or tiny.evaluator(), images=tiny.images()),
            WorkerContext(0, 1, torch.device("cpu"), folder, tuple(resume)),
            reporter,
            metadata={"seed": 3},
        )
    return reporter


def counted_once(name, kind):
    """What an image costs is that of its kind; counting it takes longer than a training here (see test_cost.py)."""
    count = getattr(trial, name)

    def known(*arguments):
        if (name, kind) not in COUNTS:
            COUNTS[name, kind] = count(*arguments)
        return COUNTS[name, kind]

    return known


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The reporter and the folder of a trial of a family that ran to its end, by the kind; nothing changes them."""

    @functools.cache
    def trained(kind):
        folder = tmp_path_factory.mktemp(f"whole-{kind}")
        return run(kind, folder), folder

    return trained


def newest(root):
    return max(root.glob("images-*"))


def value(evaluation):
    return evaluation.scores["fd"].value


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_reports_hold_what_the_tracking_needs(kind, whole):
    reporter, root = whole(kind)
    assert [images for images, _ in reporter.reports] == [16, 24, 32, 48, 64]
    assert [evaluation.images for evaluation, _ in reporter.checkpoints] == [24, 48, 64]
    for _, report in reporter.reports:
        parts = {name for name in report if name.startswith("loss/")}
        assert {name for name in report if not name.startswith(("loss/", "signal/"))} == PROGRESS
        assert report["loss"] == pytest.approx(sum(report[name] for name in parts))
    for evaluation, folder in reporter.checkpoints:
        metrics = evaluation.numbers()
        assert {name for name in metrics if not name.startswith(("loss/", "signal/"))} == CHECKPOINT
        assert all(math.isfinite(value) for value in metrics.values())
        assert folder == root / f"images-{evaluation.images:012d}"
    seconds = [evaluation.cost.device_seconds for evaluation, _ in reporter.checkpoints]
    assert seconds == sorted(seconds)
    flops = reporter.reports[0][1]["flops"] / 16
    assert reporter.reports[-1][1]["flops"] == pytest.approx(64 * flops)


def test_checkpoint_holds_what_was_judged(whole):
    reporter, _ = whole("gan")
    evaluation, folder = reporter.checkpoints[-1]
    metrics, score = evaluation.numbers(), evaluation.scores["fd"]
    found = verify(folder)
    assert (found.images, found.family, found.seed, found.shape) == (64, "gan", 3, (1, tiny.SIZE, tiny.SIZE))
    assert (found.class_names, found.class_counts, found.metadata) == (("a", "b", "c"), (14, 13, 13), {"seed": 3})
    assert found.metrics == {"images": 64, **metrics}
    assert found.identities == {"fd": score.identity.as_dict()}
    assert (folder / "samples.png").stat().st_size > 100
    assert (folder / "real.png").stat().st_size > 100
    told = json.loads((folder / "estimates.json").read_text())["fd"]
    assert (told["corrected"], told["error"]) == (score.corrected, score.error)
    assert sum(told["influences"]) / len(told["influences"]) == pytest.approx(told["corrected"], rel=1e-5)
    fresh = tiny.build("gan", conditional=True)
    network = fresh.networks["generator"]
    load_network(network, load_tensors(folder, found.weights), found.weights)
    evaluator = replace(tiny.evaluator(), images=tiny.images())
    assert evaluate(fresh, network, evaluator).scores["fd"].value == pytest.approx(score.value)


def test_resumed_trial_keeps_the_length_of_its_pace(tmp_path):
    settings = {"images": 10**6, "device_seconds": 0.4}
    stopped, evaluator = ListReporter(stop_after=1), tiny.evaluator(every=16)
    with pytest.raises(StopTrial):
        run("gan", tmp_path / "first", stopped, evaluator=evaluator, **settings)
    ((length, pace),) = stopped.paces
    assert length % 8 == 0
    assert pace > 0
    again = run("gan", tmp_path / "again", resume=[newest(tmp_path / "first")], **settings)
    assert again.paces == []
    assert [evaluation.images for evaluation, _ in again.checkpoints][-1] == length
    costs = [evaluation.cost for evaluation, _ in (*stopped.checkpoints, *again.checkpoints)]
    assert all(one.scoring_flops < other.scoring_flops for one, other in itertools.pairwise(costs))


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_resumed_trial_equals_an_unbroken_one(kind, whole, tmp_path, monkeypatch):
    whole, root = whole(kind)  # of which nobody wanted a checkpoint but those of its scores
    monkeypatch.setattr(timing, "TICK_SECONDS", 0.0)  # it is asked after each step that ends without a score
    first = ListReporter(stop_after=2, wants=frozenset({0}))
    with pytest.raises(StopTrial):
        run(kind, tmp_path / "first", first)
    assert first.asked == 4  # of 6 steps, 2 end with a score
    assert numbers(first) == numbers(whole, last=48)
    second = run(kind, tmp_path / "second", ListReporter(wants=frozenset({0})), [newest(tmp_path / "first")])
    assert second.asked == 1
    assert second.checkpoints[0][0].cost.train_seconds > first.checkpoints[-1][0].cost.train_seconds
    between = [*first.saves, *second.saves]
    assert [images for images, _ in between] == [8, 56]
    resumed = {images: run(kind, tmp_path / f"from-{images}", resume=[folder]) for images, folder in between}
    expected = load_tensors(root / "images-000000000064")
    for images, again in (resumed | {48: second}).items():
        assert numbers(again) == numbers(whole, after=images)
        tensors = load_tensors(again.checkpoints[-1][1])
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("interval", "saved"), [(1e-9, [8, 16, 32, 40, 56]), (1e9, []), (None, [])])
def test_a_checkpoint_comes_when_the_last_one_was_long_ago(interval, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "TICK_SECONDS", 0.0)
    reporter = run("gan", tmp_path, checkpoint_interval=interval)
    assert [images for images, _ in reporter.saves] == saved
    assert [evaluation.images for evaluation, _ in reporter.checkpoints] == [24, 48, 64]


def numbers(reporter, after=0, last=64):
    """What was told of images after some to the last, but for what differs from run to run."""
    timeless = {"seconds", "images_per_second", "memory_bytes"}
    told = [*reporter.reports, *((e.images, e.numbers()) for e, _ in reporter.checkpoints)]
    return [
        (i, {n: v for n, v in each.items() if not n.endswith(tuple(timeless))}) for i, each in told if after < i <= last
    ]


def test_a_trial_past_its_end_is_reported_once_more(whole, tmp_path):
    whole, root = whole("gan")
    again = run("gan", tmp_path, resume=[newest(root)])
    assert again.reports == []
    ((evaluation, folder),) = again.checkpoints
    assert value(evaluation) == value(whole.checkpoints[-1][0])
    assert {"loss", "images_per_second"} < set(evaluation.signals)
    assert verify(folder).images == 64


def test_the_first_whole_checkpoint_is_taken(whole, tmp_path):
    whole, root = whole("gan")
    shutil.copytree(root, tmp_path / "whole")
    folders = [tmp_path / "whole" / folder.name for _, folder in whole.checkpoints[:0:-1]]
    (folders[0] / "state.safetensors").write_bytes(b"torn")
    second = run("gan", tmp_path / "second", resume=folders)
    assert value(second.checkpoints[-1][0]) == value(whole.checkpoints[-1][0])
    assert [images for images, _ in second.reports] == [64]
    (note,) = second.notes
    assert f"{folders[0]}/state.safetensors is damaged" in note
    assert note.endswith(f"resuming from {folders[1].name}")


def test_trial_without_a_whole_checkpoint_starts_anew(whole, tmp_path):
    whole, root = whole("gan")
    folder = shutil.copytree(newest(root), tmp_path / "torn")
    (folder / "state.safetensors").write_bytes(b"torn")
    again = run("gan", tmp_path / "second", resume=[folder, tmp_path / "none"])
    assert [value(each) for each, _ in again.checkpoints] == [value(each) for each, _ in whole.checkpoints]
    (note,) = again.notes
    assert re.search("is damaged.*is not a checkpoint.*starting again$", note)


def test_devices_count_for_as_long_as_the_trial_had_them(tmp_path):
    reporter = ListReporter(stop_after=2)
    with pytest.raises(StopTrial):
        run("gan", tmp_path / "first", reporter)
    stopped = newest(tmp_path / "first")
    record = json.loads((stopped / "checkpoint.json").read_text())
    for name in ("device_seconds", "scoring_device_seconds"):
        record["metrics"][name] *= 4  # as if four workers had come so far
    (stopped / "checkpoint.json").write_text(json.dumps(record))
    cost = run("gan", tmp_path / "second", resume=[stopped]).checkpoints[-1][0].cost
    before = record["metrics"]["train_seconds"]
    assert cost.device_seconds == pytest.approx(4 * before + (cost.train_seconds - before))
    assert cost.scoring_device_seconds > record["metrics"]["scoring_device_seconds"]
