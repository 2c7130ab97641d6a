"""Trials in TensorBoard and Weights & Biases, read back by their own libraries."""

from __future__ import annotations

import json
import struct
from contextlib import closing

import pytest
from logged import MadeEvents

from gensweep.config import load_sweep
from gensweep.errors import ConfigError
from gensweep.sweep.events import Created
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.tracking.boards import boards_of


class Watched(MadeEvents):
    """A sweep whose events go to one observer."""

    def __init__(self, boards):
        self.boards, self.state = boards, SweepState()
        self.add(Created("0123456789abcdef", "digits", "fd", "min", 2))

    @property
    def trials(self):
        return self.state.trials

    def add(self, event):
        self.state.apply(event, 0)
        self.boards(event, self.state)


def play(boards):
    """A trial that ends, and one that the session leaves."""
    with closing(boards):
        sweep = Watched(boards)
        sweep.start("t0000", {"network.width": 16, "network.multipliers": [1, 2]})
        sweep.progress("t0000", 50, loss=0.5)
        sweep.evaluate("t0000", 100, 7.0, diversity=0.9)
        sweep.evaluate("t0000", 200, 5.0)
        sweep.end("t0000")
        sweep.start("t0001", {"network.width": 8})
        sweep.progress("t0001", 50, loss=0.25)


def test_tensorboard_has_numbers_by_images_and_settings_with_the_objective(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = SweepFolder(tmp_path, "digits")
    play(boards_of("tensorboard", folder))

    def read(trial):
        found = EventAccumulator(str(folder.path / "tensorboard" / trial))
        found.Reload()
        return found

    whole, left = read("t0000"), read("t0001")
    assert [(each.step, each.value) for each in whole.Scalars("fd")] == [(100, 7.0), (200, 5.0)]
    assert [(each.step, each.value) for each in whole.Scalars("loss")] == [(50, 0.5)]
    assert [each.value for each in whole.Scalars("objective")] == [5.0]
    told = HParamsPluginData.FromString(whole.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    settings = {key: value.string_value or value.number_value for key, value in told.session_start_info.hparams.items()}
    assert settings == {"network.width": 16, "network.multipliers": "[1, 2]", "status": "finished"}
    assert [each.value for each in left.Scalars("loss")] == [0.25]


def records_of(file):
    """The records of a run that was not sent: pieces behind headers of 7 bytes, in blocks of 32 KiB (LevelDB's log)."""
    data, position, record = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 2**15 - position % 2**15) < 7:
            position += left
            continue
        _, length, piece = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if piece in (1, 4):  # the whole of a record, or its last piece
            yield record
            record = b""


@pytest.mark.waits
def test_weights_and_biases_has_a_run_a_trial(tmp_path, monkeypatch):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = SweepFolder(tmp_path, "digits")
    folder.path.mkdir(parents=True)
    play(boards_of("wandb", folder))
    wandb.teardown()  # finish() does not wait for its service to write the file to its end
    runs = {}
    for file in sorted(folder.path.glob("wandb/offline-run-*/*.wandb")):
        run = {"history": [], "summary": {}}
        for record in map(Record.FromString, records_of(file)):
            match record.WhichOneof("record_type"):
                case "run":
                    run["id"], run["name"], run["group"] = (
                        record.run.run_id,
                        record.run.display_name,
                        record.run.run_group,
                    )
                    run["config"] = {each.key: json.loads(each.value_json) for each in record.run.config.update}
                case "history":
                    values = {
                        each.key or each.nested_key[0]: json.loads(each.value_json) for each in record.history.item
                    }
                    run["history"].append({key: values[key] for key in ("_step", "fd", "loss") if key in values})
                case "summary":
                    for each in record.summary.update:
                        run["summary"][each.key or each.nested_key[0]] = json.loads(each.value_json)
        runs[run["name"]] = run
    assert sorted(runs) == ["digits/t0000", "digits/t0001"]
    whole = runs["digits/t0000"]
    assert (whole["id"], whole["group"]) == ("01234567-t0000", "digits")
    assert whole["config"]["network.width"] == 16
    assert whole["history"] == [{"_step": 50, "loss": 0.5}, {"_step": 100, "fd": 7.0}, {"_step": 200, "fd": 5.0}]
    assert (whole["summary"]["objective"], whole["summary"]["status"]) == (5.0, "finished")


def test_what_cannot_be_watched_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(ConfigError, match="wandb has no key on this machine; run: wandb login"):
        boards_of("wandb", SweepFolder(tmp_path, "a"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"observers: tensorboard needs a package.*gensweep\[tensorboard\]"):
        load_sweep({"name": "a", "base": {"family": {"kind": "diffusion"}}, "observers": ["tensorboard"]})
