"""Adapters: the result of a fine-tuning in a small file that fits exactly one base model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gensweep.errors import GensweepError
from gensweep.families.family import Family
from gensweep.files import parse_json, write_tensors
from gensweep.nn.updates import add_update, low_rank_updates, new_rows, put_rows

#: Settings of a fine-tuning by name.
AdapterSettings: TypeAlias = Mapping[str, str | int | float | None]
#: File name next to the weights of a trained model.
ADAPTER_FILE = "adapter.safetensors"
#: Format and version of that file, in its metadata.
ADAPTER_FORMAT = "gensweep adapter 1"


@dataclass(frozen=True)
class Adapter:
    """Low-rank updates and rows of new labels by layer name, as LAYER/A, LAYER/B and TABLE/rows.

    `base` is the hash of the base's weights, `known` are the base's labels, `new` the learned ones.  An update is
    `scale` B A; `settings` record how it was trained.
    """

    base: str
    known: tuple[str, ...]
    new: tuple[str, ...]
    scale: float
    settings: AdapterSettings
    tensors: Mapping[str, Tensor]


def adapter_of(
    network: nn.Module, *, base: str, known: tuple[str, ...], new: tuple[str, ...], settings: AdapterSettings
) -> Adapter | None:
    """The changes of a network relative to its base; None if the base's weights changed too."""
    updates = low_rank_updates(network)
    tensors = {f"{name}/{part}": getattr(each, part) for name, each in updates.items() for part in "AB"}
    tensors |= {f"{name}/rows": rows for name, rows in new_rows(network).items()}
    scale = next((each.scale for each in updates.values()), 1.0)
    return Adapter(base, known, new, scale, settings, tensors) if tensors else None


def write_adapter(adapter: Adapter, file: Path) -> None:
    """Write the file; tensors are float32."""
    about = {name: value for name, value in vars(adapter).items() if name != "tensors"}
    write_tensors(file, adapter.tensors, {"format": ADAPTER_FORMAT, "adapter": json.dumps(about)})


def read_adapter(file: Path) -> Adapter:
    """Read the file.  Raises GensweepError if it is not an adapter, or damaged."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != ADAPTER_FORMAT:
                raise GensweepError(f"{file} is not a gensweep adapter; name a file {ADAPTER_FILE} of a fine-tuning")
            about = parse_json(metadata["adapter"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        names = {"known": tuple(about["known"]), "new": tuple(about["new"])}
        return Adapter(**about | names, tensors=tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise GensweepError(f"the adapter {file} cannot be read ({error}); name a file {ADAPTER_FILE}") from None


def merge_adapters(
    family: Family, class_names: tuple[str, ...], adapters: Sequence[tuple[Path, float]]
) -> tuple[str, ...]:
    """Merge adapters, each multiplied by a scale, into a family with the plain weights of their base.

    Returns the class names, those of the adapters included.  Updates are summed.  If several adapters add the same
    label, its row is their mean, weighted by the scales.
    Raises GensweepError if an adapter was trained on another base.
    """
    network = family.networks[family.sampled]
    actual = weights_hash(network.state_dict())
    read = [(read_adapter(file), scale) for file, scale in adapters]
    for (file, _), (adapter, _) in zip(adapters, read, strict=True):
        if adapter.base != actual:
            raise GensweepError(
                f"the adapter {file} needs a base with the weights {adapter.base[:12]}, but this model has "
                f"{actual[:12]}; name the run that it was trained from"
            )
    for adapter, scale in read:
        for name in sorted(key.removesuffix("/A") for key in adapter.tensors if key.endswith("/A")):
            A, B = (adapter.tensors[f"{name}/{part}"] for part in "AB")
            add_update(network.get_submodule(name), A, B, scale * adapter.scale)
    new = tuple(dict.fromkeys(name for adapter, _ in read for name in adapter.new))
    if not new:
        return class_names
    tables = {key.removesuffix("/rows") for adapter, _ in read for key in adapter.tensors if key.endswith("/rows")}
    rows = {table: torch.stack([_row(read, table, label) for label in new]) for table in sorted(tables)}
    put_rows(network, len(class_names), rows)
    family.classes += len(new) if family.classes else 0
    return *class_names, *new


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _row(adapters: Sequence[tuple[Adapter, float]], table: str, label: str) -> Tensor:
    """Row of a label in a table: the mean over the adapters that add it, weighted by scale unless these sum to 0."""
    found = [
        (adapter.tensors[f"{table}/rows"][adapter.new.index(label)], scale)
        for adapter, scale in adapters
        if label in adapter.new
    ]
    total = sum(scale for _, scale in found)
    weights = [scale / total if total else 1 / len(found) for _, scale in found]
    return torch.stack([weight * row for weight, (row, _) in zip(weights, found, strict=True)]).sum(dim=0)
