"""Exported models draw the same images from the same noise as the runs that they come from."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import untrained
from diffusers.utils import dynamic_modules_utils
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file

from gensweep.build.model import load_checkpoint
from gensweep.cli.main import run
from gensweep.diffusion.samplers.sampler import FIRST_STEP_STREAM, START_STREAM
from gensweep.extras.exporting import export_targets
from gensweep.extras.exporting.model_card import model_card
from gensweep.noise import Noise
from gensweep.training.result_files import write_grid

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'gensweep[export]'")
pytest.importorskip("onnx", reason="pip install 'gensweep[export]'")

N = 4
SHAPE = (1, 8, 8)
UNET = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4], "dropout": 0.0}
WIDE = {"kind": "unet", "width": 128, "multipliers": [1], "blocks": 1, "attention": [8], "dropout": 0.0}
CNN = {"kind": "cnn", "width": 8, "depth": 4}
KARRAS = {"schedule": {"kind": "karras"}, "timesteps": 30}


def model(family, network=UNET, sampler=("ddim", {"steps": 6}), **section):
    """The sections of a trial: a family's kind or settings, its network, the sampler, and diffusion or vdm."""
    settings = {"kind": family} if isinstance(family, str) else family
    return {"family": settings, "network": network, "sampler": {"kind": sampler[0], **sampler[1]}, **section}


CONDITIONAL = {"kind": "diffusion", "conditional": True, "guidance": 2.0, "guidance_interval": [0.2, 5.0]}
DIFFUSION = {
    "ddpm": model("diffusion", WIDE, ("ancestral", {}), diffusion={"timesteps": 30}),
    "ddim": model("diffusion", WIDE, ("ddim", {"steps": 7, "eta": 0.5}), diffusion={"timesteps": 20}),
    "labels": model(CONDITIONAL, UNET, ("ancestral", {"variance": "large"}), diffusion={"timesteps": 6}),
    "cosine v": model(
        {"kind": "diffusion", "conditional": True},
        UNET,
        ("ddim", {"steps": 6, "eta": 1.0}),
        diffusion={"timesteps": 12, "schedule": {"kind": "cosine"}, "parameterisation": {"kind": "v"}},
    ),
    "x0": model("diffusion", diffusion={"timesteps": 12, "parameterisation": {"kind": "x0"}}),
    "edm": model("diffusion", UNET, ("ancestral", {}), diffusion=KARRAS | {"parameterisation": {"kind": "edm"}}),
    "euler": model("diffusion", UNET, ("euler", {"steps": 6, "spacing": "karras"}), diffusion=KARRAS),
    "vdm": model({"kind": "vdm", "conditional": True}, UNET, ("ancestral", {"steps": 9}), vdm={"fourier": []}),
    "flow": model({"kind": "flow", "conditional": True, "guidance": 2.0}, UNET, ("euler", {"steps": 6})),
}
#: Models with a graph, but no pipeline of diffusers.
GRAPHS = {
    "vdm guided": model({"kind": "vdm", "conditional": True, "guidance": 2.0}, CNN, vdm={"fourier": [0]}),
    "meanflow": model({"kind": "meanflow", "conditional": True, "guidance": 2.0}, CNN, ("ddim", {"steps": 6})),
    "dit": model(CONDITIONAL, {"kind": "dit", "width": 16, "depth": 2, "registers": 2}, diffusion={"timesteps": 10}),
}
#: Those that diffusers holds without code of ours.
STANDARD = ("ddpm", "ddim")


def checkpoint(root, sections):
    folder = untrained.checkpoint(root, untrained.TrialConfig.from_dict(untrained.DIGITS | sections))
    write_grid(torch.zeros(4, *SHAPE, dtype=torch.uint8), folder / "samples.png")  # as a training leaves it
    return folder


def export(root, sections, target, *more):
    """The checkpoint of an untrained model, and the folder that it was exported to."""
    folder, out = checkpoint(root, sections), root / "out"
    assert run(["export", str(folder), "--to", target, "-o", str(out), *more]) == 0
    return folder, out


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The checkpoint of an untrained model, and the folder that it was exported to, made once; tests only read them."""
    roots = {}

    def once(sections, target):
        key = json.dumps(sections)
        if key not in roots:
            root = tmp_path_factory.mktemp("model")
            roots[key] = root, checkpoint(root, sections)
        root, folder = roots[key]
        out = root / target
        if not out.exists():
            assert run(["export", str(folder), "--to", target, "-o", str(out)]) == 0
        return folder, out

    return once


def drawn(folder):
    """Images of a checkpoint, the noise that they begin with, that of each step, and labels."""
    exact = {"family.sampling_precision": "float32"} if "diffusion" in read(folder)["metadata"] else {}
    loaded = load_checkpoint(folder, overrides=exact, device="cpu")
    family, noise = loaded.family, Noise(0, torch.arange(N))
    labels = torch.arange(N) % len(loaded.checkpoint.class_names)
    with torch.no_grad():
        images = family.sample(loaded.network, noise, labels)
    steps = len(family.process_of(loaded.network).sigmas(read(folder)["metadata"]["sampler"]["steps"])) - 1
    of_steps = [noise.normal(*SHAPE, stream=FIRST_STEP_STREAM + steps - 1 - i) for i in range(steps)]
    start = noise.normal(*SHAPE, stream=START_STREAM)
    return images, start, torch.stack(of_steps), labels if family.classes else None


def read(folder):
    return json.loads((folder / "checkpoint.json").read_text())


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Where diffusers keeps copies of the code in pipeline folders."""
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])


def replace_noise(pipeline, numbers, monkeypatch):
    """Let a pipeline and its scheduler take these numbers instead of random ones."""
    for kind in (type(pipeline), type(pipeline.scheduler), diffusers.DDPMScheduler):
        monkeypatch.setattr(sys.modules[kind.__module__], "randn_tensor", lambda *a, **b: next(numbers), raising=False)


@pytest.mark.trains
@pytest.mark.parametrize("name", DIFFUSION)
def test_a_pipeline_draws_the_images_of_the_run(name, exported, modules, monkeypatch):
    folder, out = exported(DIFFUSION[name], "diffusers")
    images, start, of_steps, labels = drawn(folder)
    assert any(out.rglob("*.py")) is (name not in STANDARD)
    assert len({file.stat().st_mode for file in out.rglob("*") if file.is_file()}) == 1
    stock = {"ddpm": diffusers.DDPMPipeline, "ddim": diffusers.DDIMPipeline}.get(name, diffusers.DiffusionPipeline)
    pipeline = stock.from_pretrained(out, trust_remote_code=name not in STANDARD, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    replace_noise(pipeline, chain([start], of_steps, repeat(torch.zeros(N, *SHAPE))), monkeypatch)
    settings = {"ddim": {"eta": 0.5, "use_clipped_model_output": True}}.get(name, {})
    shown = {"batch_size": N} if labels is None else {"class_labels": labels}
    found = pipeline(**shown, **settings, num_inference_steps=len(of_steps), output_type="pt").images
    assert (found * 2 - 1 - images.clamp(-1, 1)).abs().max() < 1e-4
    assert images.std() > 0.1


@pytest.mark.trains
@pytest.mark.parametrize("name", ["labels", "edm", "flow", *GRAPHS])
def test_onnx_draws_the_images_of_the_run(name, exported):
    sections = (DIFFUSION | GRAPHS)[name]
    folder, out = exported(sections, "onnx")
    images, start, of_steps, labels = drawn(folder)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    steps = json.loads((out / "drawing.json").read_text())["steps"]
    x = start.numpy() * (1 + steps[0]["sigma"] ** 2) ** 0.5
    shown = {} if labels is None else {"labels": labels.numpy()}
    for step, z in zip(steps, of_steps.numpy(), strict=True):
        inputs = {"x": x.astype(np.float32), "sigma": np.full(N, step["sigma"], np.float32)}
        (x_0,) = session.run(None, inputs | shown)
        x = x_0 + step["drift"] * (x - x_0) + step["std"] * z
    assert np.abs(x - images.numpy()).max() < 1e-4


#: What draws images from z in one graph.
DIRECT = {
    "meanflow 1": model("meanflow", UNET, ("euler", {"steps": 1})),
    "meanflow 2": model(CONDITIONAL | {"kind": "meanflow"}, CNN, ("euler", {"steps": 2})),
    "meanflow 4": model(
        {"kind": "meanflow", "conditional": True, "guidance": 2.0},
        {"kind": "dit", "width": 16, "depth": 2},
        ("euler", {"steps": 4}),
    ),
    "vae": {"family": {"kind": "vae", "conditional": True}, "network": {"kind": "conv", "width": 8}},
    **{
        f"{kind} {conditional}": {
            "family": {"kind": "gan", "conditional": conditional},
            "network": {"kind": kind, "width": 8} | ({"discriminator_width": 8} if kind == "sngan" else {}),
            "gan": {"latent": 6},
        }
        for kind in ("dcgan", "sngan", "r3gan")
        for conditional in (False, True)
    },
}


@pytest.mark.trains
@pytest.mark.parametrize("name", DIRECT)
def test_one_graph_draws_the_images_of_the_run(name, exported):
    folder, out = exported(DIRECT[name], "onnx")
    told = load_checkpoint(folder, device="cpu")
    noise, labels = Noise(0, torch.arange(N)), torch.arange(N)
    with torch.no_grad():
        images = told.family.sample(told.network, noise, labels)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    z = noise.normal(*session.get_inputs()[0].shape[1:], stream=START_STREAM)
    shown = (z, labels)[: 1 + (told.family.classes > 0)]
    inputs = dict(zip(("z", "labels"), map(np.asarray, shown), strict=False))
    (found,) = session.run(None, inputs)
    assert np.abs(found - images.numpy()).max() < 1e-4
    assert images.std() > 0.01
    parameters = sum(weight.numel() for weight in told.network.parameters())
    assert (out / "model.onnx").stat().st_size < 4 * parameters + 500_000


@pytest.mark.parametrize("weights", ["1", "raw"])
def test_safetensors_are_a_checkpoint_of_one_network(weights, tmp_path):
    sampler = ("--set", "sampler.kind=heun", "--set", "sampler.steps=4")
    folder, out = export(tmp_path, DIFFUSION["labels"], "safetensors", "--ema", weights, *sampler)
    changes = {"sampler.kind": "heun", "sampler.steps": 4}
    original = load_checkpoint(folder, overrides=changes, weights=weights, device="cpu")
    assert torch.equal(load_checkpoint(out, device="cpu").sample(N), original.sample(N))
    assert len(load_file(out / "state.safetensors")) == len(original.network.state_dict())


#: Formats with models that are exported.
CARDS = [
    ("diffusers", DIFFUSION["ddim"]),
    ("diffusers", DIFFUSION["labels"]),
    ("onnx", DIFFUSION["labels"]),
    ("onnx", untrained.FAMILIES["gan"]),
    ("onnx", DIRECT["meanflow 2"]),
]


@pytest.mark.trains
def test_code_in_cards_runs_without_gensweep(exported, tmp_path):
    programs = {}
    for target, sections in CARDS:
        _, out = exported(sections, target)
        programs[str(out)] = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)[1]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["HF_HOME"] = str(tmp_path / "hub")
    # One process, as each would load the same packages; a program begins with no names of another one.
    every = (
        "import json, os, sys\nsys.modules['gensweep'] = None\n"
        "for folder, code in json.loads(sys.stdin.read()).items():\n"
        "    print(folder, file=sys.stderr)\n    os.chdir(folder)\n    exec(code, {'__name__': '__main__'})\n"
    )
    command = [sys.executable, "-c", every]
    done = subprocess.run(command, input=json.dumps(programs), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all((Path(folder) / "image.png").is_file() for folder in programs)


@pytest.mark.trains
def test_a_card_has_the_metadata_of_the_hub(tmp_path):
    folder = checkpoint(tmp_path, DIFFUSION["labels"])
    record = read(folder)
    identity = {"metric": "fd", "extractor": "efficientnet_lite0/1280@32px", "samples": 8, "reference": "digits/train"}
    record["metrics"] = {"fd": 12.5, "fd/corrected": 11.0, "fd/error": 1.0, "fd/floor": 3.0}
    record["identities"] = {"fd": identity | {"quantisation": "floor"}}
    (folder / "checkpoint.json").write_text(json.dumps(record))
    arguments = ["export", str(folder), "--to", "onnx", "--license", "mit"]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    card = ModelCard.load(tmp_path / "out" / "README.md")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_type) == ("fd", 12.5, "digits")
    assert card.data.license == "mit"
    for words in ("11 (9.04 to 13)", "8 generated images against digits/train", "Real images score 3", "CC BY 4.0"):
        assert words in card.text
    kept = ["export", str(folder), "--to", "safetensors"]
    changes = ([], "onnx"), (["--set", "family.guidance=1"], "safetensors"), (["--ema", "raw"], "safetensors")
    for change, target in changes:
        first, second = (tmp_path / f"{part}{change[-1:]}" for part in "ab")
        assert run([*kept, *change, "-o", str(first)]) == 0
        assert run(["export", str(first), "--to", target, "-o", str(second)]) == 0
        assert (ModelCard.load(second / "README.md").data.eval_results is None) is bool(change)
    assert run([*kept, "--set", "family.guidance=1", "-o", str(tmp_path / "changed")]) == 0
    card = ModelCard.load(tmp_path / "changed" / "README.md")
    assert card.data.eval_results is None
    assert "not scored with family.guidance=1" in card.text


def test_a_card_shows_neither_local_paths_nor_secrets(tmp_path, monkeypatch):
    secret = "q9Zk3vB7xW2mN8pL"
    monkeypatch.setenv("SOME_TOKEN", secret)
    photos = tmp_path / "some one" / f"photos-{secret}"
    photos.mkdir(parents=True)
    for number in range(10):
        Image.new("L", (8, 8), 20 * number).save(photos / f"{number}.png")
    data = {"kind": "image_folder", "path": str(photos), "size": 8, "channels": 1}
    made = load_checkpoint(checkpoint(tmp_path, untrained.FAMILIES["gan"] | {"data": data}), device="cpu")
    training = shlex.join(["gensweep", "tune", "~/a.yaml", "--set", f"data.path={tmp_path}/some one/photos"])
    command = f"gensweep export {tmp_path}/mine --to safetensors -o models/mine"
    words = {"target": "safetensors", "name": "m", "licence": "mit", "command": command, "trained_by": training}
    card = model_card(made, {"left_out": ()}, **words)
    assert not [words for words in (str(tmp_path), "some one", secret, "~") if words in card]
    assert "path: photos-***" in card
    assert "gensweep tune a.yaml --set data.path=photos\n" in card.replace("'", "")
    assert "gensweep export mine --to safetensors -o models/mine\n" in card


def test_renamed_only_weights_keep_their_scores(tmp_path):
    sections = DIFFUSION["labels"] | {"training": untrained.DIGITS["training"] | {"ema_half_life": 0}}
    _, out = export(tmp_path, sections, "safetensors", "--ema", "raw")
    assert "not scored with" not in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("sections", "arguments", "words"),
    [
        (DIFFUSION["labels"], ["--to", "onnx", "--set", "sampler.kind=heun"], "ancestral, ddim, euler"),
        (untrained.FAMILIES["gan"], ["--to", "diffusers"], "choose --to safetensors or onnx"),
        (GRAPHS["dit"], ["--to", "diffusers"], "the class DiT cannot be converted to diffusers"),
        (GRAPHS["vdm guided"], ["--to", "diffusers"], "without Fourier features; choose --to onnx"),
        (DIRECT["meanflow 2"], ["--to", "diffusers"], "choose --to onnx"),
        (DIRECT["meanflow 2"], ["--to", "onnx", "--set", "sampler.steps=100"], "--set sampler.steps=4"),
        (DIRECT["vae"], ["--to", "onnx", "--set", "family.decoding=draw"], "adds noise while sampling"),
    ],
    ids=["sampler", "gan", "dit", "vdm", "meanflow", "steps", "vae"],
)
def test_what_cannot_be_exported_is_refused_with_what_can(sections, arguments, words, tmp_path, capsys):
    folder = checkpoint(tmp_path, sections)
    assert run(["export", str(folder), *arguments, "-o", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines(keepends=True)
    assert words in line
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_what_to_type(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["export", str(tmp_path), "--to", "onnx"]) == 2
    assert "pip install 'gensweep[export]'" in capsys.readouterr().err


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_the_folder_of_the_user_is_not_exported_over(output, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine").write_text("mine")
    folder = checkpoint(tmp_path, untrained.FAMILIES["gan"])
    monkeypatch.chdir(tmp_path / "here")
    assert run(["export", str(folder), "--to", "safetensors", "-o", output, "--force"]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert Path("mine").read_text() == "mine"


def test_only_an_export_is_replaced_and_never_the_model_itself(tmp_path, capsys):
    folder = checkpoint(tmp_path / "mine", untrained.FAMILIES["gan"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    for output, words in (
        (folder, "contains the model to export"),
        (folder.parent, "contains the model to export"),
        (tmp_path / "other", "not an export"),
    ):
        assert run(["export", str(folder), "--to", "onnx", "-o", str(output), "--force"]) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"
    out = ["export", str(folder), "--to", "safetensors", "-o", str(tmp_path / "out"), "--force"]
    assert run(out) == run(out) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "but for `finetune`, which needs the discriminator of the run:" in card


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_fails_leaves_what_was_there(error, tmp_path, monkeypatch, capsys):
    folder, out = export(tmp_path, untrained.FAMILIES["gan"], "safetensors")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert run(["export", str(folder), "--to", "safetensors", "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err

    def fails(model, folder: Path):
        (folder / "half").write_text("")
        raise error

    monkeypatch.setattr(export_targets, "write_safetensors", fails)
    assert run(["export", str(folder), "--to", "safetensors", "-o", str(out), "--force"]) in (1, 130)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images-000000000032", "out"]
