"""Checkpoints on disk: whole or not at all, and damage is seen and named."""

import dataclasses
import json

import pytest
import torch

from gensweep.errors import GensweepError
from gensweep.training.checkpoint import Checkpoint, load_tensors, read, save, verify

TENSORS = {
    "networks/a/weight": torch.arange(12.0).view(3, 4).T,
    "networks/a/counter": torch.tensor(7),
    "ema/a/weight": torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


def checkpoint(images=100, **values):
    fields = {
        "images": images,
        "seed": 2**62,
        "family": "gan",
        "shape": (1, 8, 8),
        "class_names": ("a", "ä"),
        "class_counts": (3, 4),
        "weights": "ema/a/",
        "metadata": {"seed": 0, "data": {"kind": "digits"}},
        "metrics": {"fd": 12.5, "images": images},
        "identities": {"fd": {"metric": "fd"}},
    }
    return Checkpoint(**(fields | values))


def saved(root, record, **settings):
    save(root / "images-100", record, TENSORS, **settings)
    return root / "images-100"


def test_what_is_read_is_what_was_saved(tmp_path):
    folder = saved(tmp_path, checkpoint())
    found = verify(folder)
    assert {file.name for file in folder.iterdir()} == {"state.safetensors", "checkpoint.json"}
    assert dataclasses.replace(found, sha256="") == checkpoint()
    loaded = load_tensors(folder)
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert set(load_tensors(folder, "networks/")) == {"networks/a/weight", "networks/a/counter"}


@pytest.mark.parametrize("at", [0, 200, -1])
def test_a_flipped_bit_is_found_and_the_file_named(tmp_path, at):
    folder = saved(tmp_path, checkpoint())
    file = folder / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(GensweepError, match=r"state.safetensors is damaged: its SHA-256"):
        load_tensors(folder)


def test_a_torn_or_missing_file_is_named(tmp_path):
    folder = saved(tmp_path, checkpoint())
    text = (folder / "checkpoint.json").read_text()
    for torn in (text[:50], "", "[]", "{}", "[" * 200_000, text.replace('"images": 100,', "")):
        (folder / "checkpoint.json").write_text(torn)
        with pytest.raises(GensweepError, match=r"checkpoint.json is damaged"):
            read(folder)
    (folder / "checkpoint.json").write_text(text)
    (folder / "state.safetensors").unlink()
    with pytest.raises(GensweepError, match=r"state.safetensors cannot be read"):
        verify(folder)
    with pytest.raises(GensweepError, match="is not a checkpoint"):
        read(tmp_path / "nothing")


def test_a_later_format_is_refused_and_unknown_keys_are_not(tmp_path):
    folder = saved(tmp_path, checkpoint())
    record = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(record | {"news": 1}))
    read(folder)
    (folder / "checkpoint.json").write_text(json.dumps(record | {"format": 2}))
    with pytest.raises(GensweepError, match="has format 2, but"):
        read(folder)


def test_a_save_that_fails_leaves_no_checkpoint_and_no_rubbish(tmp_path):
    def full(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(GensweepError, match=r"cannot be written \(.*No space left.*is the disk full"):
        saved(tmp_path, checkpoint(), also=full)
    assert list(tmp_path.iterdir()) == []
