"""Fine-tuning of tiny models: what is learnt beside a base, and that the base is left as it is."""

import json
from dataclasses import replace

import pytest
import torch
import untrained
from PIL import Image

from gensweep.build.costs import count_parameters
from gensweep.build.model import load_checkpoint
from gensweep.build.parts import build_learner, hold_out, load_images
from gensweep.cli import main
from gensweep.config import checked_sweep
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.finetuning.inherited_settings import trial_for_few_images, with_base
from gensweep.extras.finetuning.section import read_base
from gensweep.noise import Noise
from gensweep.training.adapters import ADAPTER_FILE, merge_adapters, read_adapter
from gensweep.training.checkpoint import read
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import draw

pytestmark = pytest.mark.trains

KNOWN = tuple("012345678")
KINDS = ["diffusion", "gan"]
LORA = {"kind": "lora", "rank": 2}
FEW = {
    "data.limit": 12,
    "training.images": 24,
    "training.batch_size": 8,
    "training.ema_half_life": 8,
    "evaluation.every": 12,
    "evaluation.samples": 4,
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def base(tmp_path_factory, kind):
    """A conditional model of nine digits, scored at shares of its training where others say after how many images."""
    at = {"evaluation__every": None, "evaluation__at": [0.5]}
    trial = untrained.config(kind, data__classes=list(KNOWN), family__conditional=True, **at)
    if kind == "diffusion":  # exact enough to compare
        trial = trial.with_overrides({"family.sampling_precision": "float32"})
    return untrained.checkpoint(tmp_path_factory.mktemp(f"base-{kind}"), trial)


def few(base, update=LORA, class_name="9", **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return trial_for_few_images(base, update, class_name=class_name, changes=FEW | changes)


@pytest.fixture(scope="module")
def visible(base):
    """A trial that learns the digit 9; its rates are high, so that one can see it."""
    trial = few(base)
    rate = "optimizer.learning_rate" if "optimizer.learning_rate" in trial.flat() else "gan.generator_learning_rate"
    return trial.with_overrides({rate: 0.02})


@pytest.fixture(scope="module")
def last(visible, tmp_path_factory):
    """The last evaluation of its training, and its checkpoint."""
    return untrained.train(visible, tmp_path_factory.mktemp("tuned")).checkpoints[-1]


@pytest.fixture(scope="module")
def tuned(last):
    """The checkpoint of a fine-tuning that has learnt the digit 9."""
    return last[1]


def with_adapters(folder, *adapters):
    model = load_checkpoint(folder, device="cpu")
    names = merge_adapters(model.family, model.checkpoint.class_names, adapters)
    return replace(model, checkpoint=replace(model.checkpoint, class_names=names))


def images_of(folder, class_name, adapters=()):
    model = with_adapters(folder, *adapters)
    return model.sample(3, label=class_name).int()


def test_a_run_begins_with_the_images_of_its_base(base):
    trial = few(base)
    images = load_images(trial)
    assert images.class_names == (*KNOWN, "9")
    assert set(images.labels.tolist()) == {9}
    learner = build_learner(trial, images, "cpu", Workers())
    model = load_checkpoint(base, device="cpu")
    network = learner.sampler.eval()
    for name in ("0", "8"):
        labels = torch.full((3,), KNOWN.index(name))
        expected = model.sample(3, label=name)
        assert torch.equal(draw(learner.family, network, Noise(0, torch.arange(3)), labels), expected)


def test_an_adapter_on_the_base_draws_what_the_run_draws(base, tuned):
    adapter = read_adapter(tuned / ADAPTER_FILE)
    assert adapter.base == read_base(base).sha256
    assert (adapter.known, adapter.new) == (KNOWN, ("9",))
    assert adapter.settings["rank"] == 2
    assert (tuned / ADAPTER_FILE).stat().st_size < 0.2 * (tuned / "state.safetensors").stat().st_size
    file = tuned / ADAPTER_FILE
    for name in ("9", "3"):
        for parts in ([(file, 1.0)], [(file, 0.3), (file, 0.7)]):
            assert (images_of(base, name, adapters=parts) - images_of(tuned, name)).abs().max() <= 1
    assert torch.equal(images_of(base, "3", adapters=[(file, 0.0)]), images_of(base, "3"))
    assert not torch.equal(images_of(base, "3"), images_of(tuned, "3"))


def test_rows_of_new_labels_alone_change_no_other_class(base, tmp_path):
    trial = few(base, LORA | {"target": "labels"})
    folder = untrained.train(trial, tmp_path).checkpoints[-1][1]
    for name in KNOWN[:3]:
        assert torch.equal(images_of(folder, name), images_of(base, name))
    assert torch.equal(images_of(base, "9", adapters=[(folder / ADAPTER_FILE, 1.0)]), images_of(folder, "9"))


@pytest.mark.parametrize("update", ["full", "scratch"])
def test_all_weights_can_be_trained_instead(base, tmp_path, update):
    trial = few(base, {"kind": update})
    assert count_parameters(trial, load_images(trial)) > 3 * count_parameters(few(base), load_images(few(base)))
    folder = untrained.train(trial, tmp_path).checkpoints[-1][1]
    assert not (folder / ADAPTER_FILE).exists()
    assert images_of(folder, "9").shape == (3, 1, 8, 8)
    again = few(folder, class_name="4")  # its classes are the base's and one more
    assert load_images(again).class_names == (*KNOWN, "9")


def test_an_adapter_of_another_base_is_refused_by_both_hashes(kind, base, tuned, tmp_path):
    other = untrained.checkpoint(
        tmp_path, untrained.config(kind, seed=6, data__classes=list(KNOWN), family__conditional=True)
    )
    mine, theirs = read_base(base).sha256[:12], read_base(other).sha256[:12]
    with pytest.raises(GensweepError, match=rf"weights {mine}, but this model has {theirs}; name the run"):
        with_adapters(other, (tuned / ADAPTER_FILE, 1.0))


def test_a_base_that_has_changed_is_noticed(base):
    trial = few(base).with_overrides({"start.sha256": "0" * 64})
    with pytest.raises(
        GensweepError, match=r"start.base: the weights of .* changed from 000000000000 to .* since this run"
    ):
        build_learner(trial, load_images(trial), "cpu", Workers())


def test_a_sweep_takes_over_what_it_does_not_write(kind, base):
    tree = {
        "name": "s",
        "base": {
            "family": {"kind": kind},
            "data": {"kind": "digits", "classes": ["9"], "limit": 12},
            "start": {"kind": "finetune", "base": str(base)},
            "training": {"images": 24, "batch_size": 8},
            "evaluation": {"every": 24},
        },
        "space": {"start.update": {"choice": [{"kind": "lora", "rank": {"int": [1, 4]}}, {"kind": "full"}]}},
    }
    sweep = with_base(checked_sweep(tree))
    trial, model = sweep.trial({"start.update.kind": "full"}), read_base(base).trial
    assert trial.flat()["data.size"] == 8
    assert trial.network == model.network
    assert trial.start.classes == KNOWN
    assert trial.start.sha256 == read_base(base).sha256
    assert with_base(sweep) == sweep
    budgeted = with_base(
        checked_sweep(tree | {"base": tree["base"] | {"training": {"batch_size": 8}}, "budget": {"images": 48}})
    )
    assert budgeted.trial({"start.update.kind": "full"}).flat()["training.images"] == 48
    searched = tree | {"space": {"start.base": {"choice": [str(base), "other"]}}}
    with pytest.raises(ConfigError, match=r"start.base: cannot be searched"):
        with_base(checked_sweep(searched))
    wrong = {"family": {"kind": "vdm"}, "start": {"kind": "finetune", "base": str(base)}}
    with pytest.raises(ConfigError, match=f"family.kind: the base is a {kind}, so it cannot continue as vdm"):
        with_base(checked_sweep({"name": "s", "base": wrong}))


def pictures(folder, count=5):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("L", (9, 9), 40 * index).save(folder / f"{index}.png")
    return folder


def test_folder_is_a_class_of_its_own_name(base, tmp_path):
    trial = trial_for_few_images(base, LORA, folder_of_images=pictures(tmp_path / "dunes"))
    images = load_images(trial)
    assert images.class_names == (*KNOWN, "dunes")
    assert images.pixels.shape == (5, 1, 8, 8)
    assert trial.flat()["training.batch_size"] == 5
    assert len(hold_out(trial, images)[0]) == 5
    pictures(tmp_path / "both" / "seas")
    pictures(tmp_path / "both" / "3")
    trial = trial_for_few_images(base, LORA, folder_of_images=tmp_path / "both")
    assert load_images(trial).class_names == (*KNOWN, "seas")
    assert set(load_images(trial).labels.tolist()) == {3, 9}


def test_an_unconditional_base_learns_without_labels(kind, tmp_path):
    conditional = {"family__conditional": False}
    base = untrained.checkpoint(tmp_path / "base", untrained.config(kind, data__classes=list(KNOWN), **conditional))
    folder = untrained.train(few(base), tmp_path / "tuned").checkpoints[-1][1]
    adapter = read_adapter(folder / ADAPTER_FILE)
    assert (adapter.known, adapter.new) == ((), ())
    assert read(folder).class_names == ("9",)
    whole = load_checkpoint(folder, device="cpu").sample(3).int()
    merged = with_adapters(base, (folder / ADAPTER_FILE, 1.0)).sample(3).int()
    assert (merged - whole).abs().max() <= 1


def test_an_export_of_a_fine_tuning_is_the_model_that_it_was(tuned, tmp_path):
    out = tmp_path / "out"
    assert main.run(["export", str(tuned), "--to", "safetensors", "-o", str(out)]) == 0
    for name in ("9", "3"):
        assert torch.equal(images_of(out, name), images_of(tuned, name))
    model = load_checkpoint(out, device="cpu")
    images = load_images(model.config)
    assert images.class_names == (*KNOWN, "9")
    assert set(images.labels.tolist()) == {9}
    assert str(tmp_path) not in (out / "checkpoint.json").read_text()
    assert "/" not in model.config.flat()["start.base"]


BAD = [
    (["--class", "9", "--update", "full", "--rank", "8"], 2, "--rank: applies only to low-rank updates"),
    (["--class", "9", "--rank", "5000"], 2, "start.update.rank: 5000 is more than any of the"),
    (["--class", "9", "--target", "nowhere"], 2, "start.update.target: 'nowhere' matches no layer of the"),
    (["--class", "3", "--target", "labels"], 2, "start.update.target: 'labels' only learns new labels"),
    (["--class", "nine"], 2, "'nine' is not a class of digits"),
    (["--data", "empty"], 2, "it has no picture for training"),
    (["--data", "nowhere"], 2, "is not a folder"),
    ([], 2, "Give either --data FOLDER or --class NAME"),
    (["--class", "9", "--set", "data.size=16"], 2, "but the base draws 1 channels and 8 px"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_cannot_be_is_refused_in_one_line(base, tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main.run(["finetune", str(base), *arguments]) == code
    printed = capsys.readouterr().err.strip().splitlines()
    assert words in printed[-1]
    assert not any("Traceback" in line for line in printed)
    assert len([line for line in printed if line.startswith("Error")]) == 1


def test_sample_takes_adapters_by_file_and_scale(base, tuned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call = ["sample", str(base), "-n", "2", "-o", "out", "--format", "json", "--class"]
    for given in (str(tuned / ADAPTER_FILE), f"{tuned / ADAPTER_FILE}:0.7", f"{tuned}:1"):
        assert main.run([*call, "9", "--adapter", given]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 2
    for given, words in (
        (f"{tuned / ADAPTER_FILE}:much", "'much' is not a scale; write FILE:NUMBER"),
        ("none.safetensors:0.5", "none.safetensors does not exist"),
        (f"{base}:0.5", f"is not a LoRA fine-tuning: it has no {ADAPTER_FILE}"),
        (f"{base / 'checkpoint.json'}:1", "the adapter"),
    ):
        assert main.run([*call, "3", "--adapter", given]) in (1, 2)
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line
