"""`evaluate-images` for pipeline folders of diffusers."""

import json

import diffusers
import pytest
import torch
import untrained
from scored_digits import COUNT

from gensweep.build.parts import build_evaluator, build_extractor, load_images
from gensweep.cli.main import run
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.imported.pipelines import DiffusersPipeline
from gensweep.extras.imported.scoring import evaluate_pipeline
from gensweep.noise import Noise
from gensweep.training.evaluation import sample_labels

LIKE = ["--set", "data.kind=digits", "--set", "data.size=8", "--set", "data.limit=40"]
SCORED = [*LIKE, "--samples", "6", "--set", "evaluation.extractor={kind: efficientnet_lite0, resolution: 32}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline that somebody else has saved: 20 timesteps, grey images of 8 px."""
    torch.manual_seed(0)
    sizes = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8,), "norm_num_groups": 4}
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "layers_per_block": 1}
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=20)
    pipeline = diffusers.DDPMPipeline(diffusers.UNet2DModel(**sizes, **blocks), scheduler)
    out = tmp_path_factory.mktemp("theirs") / "pipeline"
    pipeline.save_pretrained(out)
    return out


def test_images_depend_on_the_seed_and_their_number_alone(folder):
    pipeline = DiffusersPipeline(folder, torch.device("cpu"))
    together = pipeline.draw(3, torch.arange(4), None)
    apart = [pipeline.draw(3, torch.tensor([i]), None) for i in range(4)]
    assert (together.int() - torch.cat(apart).int()).abs().max() <= 1
    assert not torch.equal(pipeline.draw(4, torch.arange(4), None), together)


def test_a_pipeline_is_scored_with_all_timesteps_of_its_scheduler(folder, capsys):
    assert run(["evaluate-images", str(folder), *SCORED, "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["origin"]["kind"] == "pipeline"
    assert found["origin"]["call"] == {"num_inference_steps": 20}
    assert found["value"] > 0
    assert found["params"] > 1000


def test_what_a_pipeline_cannot_do_is_refused_in_a_line(folder, tmp_path):
    with pytest.raises(ConfigError, match="DDPMPipeline accepts num_inference_steps"):
        DiffusersPipeline(folder, torch.device("cpu"), call={"steps": 3})
    with pytest.raises(ConfigError, match="--classes 7: DDPMPipeline has no class_labels"):
        DiffusersPipeline(folder, torch.device("cpu"), classes=7)
    copy = tmp_path / "code"
    copy.mkdir()
    (copy / "model_index.json").write_text("{}")
    with pytest.raises(ConfigError, match="diffusers cannot load it"):
        DiffusersPipeline(copy, torch.device("cpu"))
    (copy / "pipeline.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="add --trust"):
        DiffusersPipeline(copy, torch.device("cpu"))


class Greys:
    """Images as grey as their label."""

    device, origin, params = torch.device("cpu"), {"kind": "pipeline", "path": "greys"}, 0

    def __init__(self, classes, channels=1):
        self.classes, self.channels = classes, channels

    def draw(self, key, indices, labels):
        return (25 * labels.to(torch.uint8)).view(-1, 1, 1, 1).expand(-1, self.channels, 8, 8)


def test_labels_are_sampled_in_the_proportions_of_the_real_images():
    trial = untrained.config("gan", evaluation__samples=COUNT)
    evaluator = build_evaluator(trial, load_images(trial), "cpu")
    seen = []
    found = evaluate_pipeline(Greys(10), evaluator, 0, seen.append)
    counts = torch.bincount(load_images(trial).labels, minlength=10).tolist()
    pixels = Greys(10).draw(0, torch.arange(COUNT), sample_labels(counts, Noise(0, torch.arange(COUNT))))
    mine, real = (
        build_extractor(trial, "cpu", load_images(trial))(each).double() for each in (pixels, load_images(trial).pixels)
    )
    both = torch.linalg.svdvals((mine - mine.mean(0)) @ (real - real.mean(0)).T).sum()
    apart = (mine.mean(0) - real.mean(0)).square().sum() + mine.var(0).sum() + real.var(0).sum()
    expected = apart - 2 * both / ((len(mine) - 1) * (len(real) - 1)) ** 0.5
    assert found.result.scores["fd"].value == pytest.approx(float(expected), rel=1e-6)
    assert not found.notes
    assert evaluate_pipeline(Greys(3), evaluator, 0, seen.append).notes == (
        "it has 3 classes and the real images have 10: labels are uniform",
    )
    with pytest.raises(GensweepError, match="its images have 3 channels, but the real images have 1"):
        evaluate_pipeline(Greys(10, channels=3), evaluator, 0, seen.append)
