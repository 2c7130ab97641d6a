"""Model cards in the format of the Hugging Face hub: YAML metadata, then a page of text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

import yaml

from gensweep.build.model import Model
from gensweep.metrics.metric import METRICS
from gensweep.metrics.titles import metric_title
from gensweep.redaction import redact_tree
from gensweep.report import wording
from gensweep.results import UNBIASED_PARTS, Anchor, Identity, Score, family_name
from gensweep.sweep.trial_state import TrialState
from gensweep.training.checkpoint import Checkpoint

#: The hub's tags of image generators.
TASK = "unconditional-image-generation"
#: By kind of data set: the source, and its terms of use as published.
DATA_LICENCES = {
    "digits": (
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 "
        "(its test part, as scikit-learn ships it)",
        "Creative Commons Attribution 4.0 (CC BY 4.0)",
    ),
    "cifar10": (
        "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        "published without a licence; its photographs were collected from the web",
    ),
}
#: Terms of all other data.
UNKNOWN_TERMS = "the terms of its owner; fill them in before you publish"


def model_card(
    model: Model,
    usage: Mapping[str, Any],
    *,
    target: str,
    name: str,
    licence: str,
    command: str,
    trained_by: str,
    changes: Sequence[str] = (),
    trial: TrialState | None = None,
) -> str:
    """The text of README.md.

    `usage` are values for the target's part of the template.  `changes` are settings that differ from the training,
    whose score then does not apply.  `trained_by` is the training command, or "".
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gensweep.extras.exporting", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown
        keep_trailing_newline=True,
    )
    environment.filters |= {name: each for name, each in vars(wording).items() if callable(each)}
    record, tree = model.checkpoint, redact_tree(model.config.as_dict())
    scores = [] if changes else _scores(record)
    family, data = family_name(record.family), tree["data"]["kind"]
    source, terms = DATA_LICENCES.get(data, ("", UNKNOWN_TERMS))
    shown = {name: _public(section) for name, section in tree.items() if name != "evaluation"}
    metadata = {
        "license": licence,
        "library_name": "gensweep" if target == "safetensors" else target,
        "pipeline_tag": TASK,
        "tags": ["gensweep", family.lower().replace(" ", "-"), "image-generation", data],
    }
    if scores:
        metadata["model-index"] = [{"name": name, "results": [_result(each, data) for each in scores]}]
    return environment.get_template("model_card.j2").render(
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True),
        name=name,
        target=target,
        family=family,
        record=record,
        classes=model.family.classes,
        data=_format_data(data, tree),
        source=source,
        terms=terms,
        network=tree.get("network", {}).get("kind", type(model.network).__name__),
        params=sum(parameter.numel() for parameter in model.network.parameters()),
        weights="of the last step" if model.weights == "raw" else f"averaged ({model.weights})",
        config=yaml.safe_dump(shown, sort_keys=False, allow_unicode=True),
        scores=scores,
        changes=changes,
        trial=trial,
        trained_by=_public_command(trained_by),
        command=_public_command(command),
        version=version("gensweep"),
        **usage,
    )


def _scores(record: Checkpoint) -> list[Score]:
    """Scores of a model, the main metric first."""
    found = []
    for name, identity in record.identities.items():
        if name not in METRICS:  # a plug-in's
            continue
        numbers = record.metrics
        parts: dict[str, Any] = {part: numbers.get(f"{name}/{part}") for part in UNBIASED_PARTS}
        if (real := numbers.get(f"{name}/floor")) is not None:
            ends = (numbers.get(f"{name}/floor_{part}") for part in ("corrected", "error"))
            parts["floor"] = Anchor(real, "real images", identity["samples"], *ends)
        found.append(Score(numbers[name], METRICS[name].mode, Identity.from_dict(identity), **parts))
    return found


def _result(score: Score, data: str) -> dict[str, Any]:
    """A score in the format of the hub's `model-index`."""
    title = f"{metric_title(score.metric, score.identity)} ({score.identity.samples:,} images)"
    return {
        "task": {"type": TASK},
        "dataset": {"type": data, "name": score.identity.reference.partition("#")[0]},
        "metrics": [{"type": score.metric, "name": title, "value": score.value}],
    }


def _public(value: Any) -> Any:
    """Settings, or one of them; local paths are reduced to file names."""
    if isinstance(value, Mapping):
        return {name: _public(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and value.startswith(("/", "~", ".")) else value


def _public_command(command: str) -> str:
    """A command; absolute paths are reduced to file names."""
    return re.sub(r"'[^']*'|[^\s']+", lambda word: re.sub(r"(^'?|[=\s,])[~/].*/(?=[^'])", r"\1", word[0]), command)


def _format_data(kind: str, tree: Mapping[str, Any]) -> str:
    data = tree["data"]
    name = _public(data["dataset"]) if data.get("dataset") else kind
    return f"{name} ({', '.join(data['classes'])})" if data.get("classes") else str(name)
