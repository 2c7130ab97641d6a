"""`evaluate-images` for pipeline folders of diffusers."""

import json

import diffusers
import pytest
import torch

from gensweep.cli.main import run
from gensweep.errors import ConfigError
from gensweep.extras.imported.pipelines import DiffusersPipeline

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
