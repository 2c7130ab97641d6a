"""Model cards in the format of the Hugging Face hub: a block of metadata in YAML, then a page for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

import yaml

from gensweep.build.model import Model
from gensweep.metrics.metric import METRICS
from gensweep.metrics.titles import metric_title
from gensweep.redaction import redact_tree
from gensweep.report.wording import (
    count,
    format_anchors,
    format_further,
    format_guess,
    format_identity,
    format_interval,
)
from gensweep.report.wording import score as score_words
from gensweep.results import Anchor, Identity, Score, family_name
from gensweep.sweep.trial_state import TrialState
from gensweep.training.checkpoint import Checkpoint

#: What the hub calls models that draw images; classes are no texts.
TASK = "unconditional-image-generation"
#: By kind of data set: the source, and the terms of use as its publishers state them.
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
#: The terms of all other data.
UNKNOWN_TERMS = "the terms of its owner; please write them here before you publish"


@dataclass(frozen=True)
class CardFacts:
    """What a card says that the model itself does not know.

    `usage` are values for the part of the template that is about the target.  `changes` are settings that are not those
    of the training, whose score is then another model's.
    """

    target: str
    name: str
    licence: str
    command: str
    training_command: str
    usage: Mapping[str, Any]
    changes: tuple[str, ...] = ()
    trial: TrialState | None = None


def model_card(model: Model, facts: CardFacts) -> str:
    """The text of README.md."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gensweep.extras.exporting", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown
        keep_trailing_newline=True,
    )
    checkpoint, tree = model.checkpoint, redact_tree(model.config.as_dict())
    classes = model.family.classes
    scores = [] if facts.changes else checkpoint_scores(checkpoint)
    family = family_name(checkpoint.family)
    data = tree["data"]["kind"]
    source, terms = DATA_LICENCES.get(data, ("", UNKNOWN_TERMS))
    channels, size, _ = checkpoint.shape
    images = f"{size} x {size} {'grey' if channels == 1 else 'RGB'} images"
    kind = f"{'A class-conditional' if classes else 'An unconditional'} {family} model"
    return environment.get_template("model_card.j2").render(
        metadata=yaml.safe_dump(_metadata(facts, data, family, scores), sort_keys=False, allow_unicode=True),
        title=facts.name,
        summary=f"{kind} of {images}, trained on {_data_words(data, tree)} with gensweep.",
        target=facts.target,
        classes=classes,
        class_names=list(checkpoint.class_names),
        class_list=repr(list(checkpoint.class_names)),
        shape=checkpoint.shape,
        data=f"{_data_words(data, tree)}, {sum(checkpoint.class_counts):,} images" + (f"; {source}" if source else ""),
        terms=terms,
        trained=f"Trained on {checkpoint.images:,} images, counted each time that they came; seed {checkpoint.seed}",
        network=tree.get("network", {}).get("kind", type(model.network).__name__),
        params=count(sum(parameter.numel() for parameter in model.network.parameters())),
        weights="of the last step" if model.weights == "raw" else f"averaged ({model.weights})",
        config=yaml.safe_dump(
            {name: _public(section) for name, section in tree.items() if name != "evaluation"},
            sort_keys=False,
            allow_unicode=True,
        ),
        scores=[
            {
                "title": metric_title(each.metric, each.identity),
                "value": score_words(each.value),
                "interval": format_interval(each),
                "identity": format_identity(each.identity),
            }
            for each in scores
        ],
        beside=" ".join(
            filter(None, (format_anchors(scores[0].anchors, scores[0].identity.samples), format_guess(scores[0])))
        )
        if scores
        else "",
        fresh=_fresh_words(facts.trial),
        unscored=f"It was not scored with {', '.join(facts.changes)}." if facts.changes else "It was not scored.",
        training_command=_public_command(facts.training_command),
        command=_public_command(facts.command),
        version=version("gensweep"),
        **facts.usage,
    )


def checkpoint_scores(checkpoint: Checkpoint) -> list[Score]:
    """The scores that came with a checkpoint, the main metric first."""
    numbers = checkpoint.metrics
    return [
        Score(
            value=numbers[name],
            mode=METRICS[name].mode,
            identity=Identity.from_dict(identity),
            corrected=numbers.get(f"{name}/corrected"),
            error=numbers.get(f"{name}/error"),
            floor=_anchor(numbers, f"{name}/floor", "real images", identity["samples"]),
            low=numbers.get(f"{name}/low"),
            high=numbers.get(f"{name}/high"),
            needed=_whole(numbers.get(f"{name}/needed")),
        )
        for name, identity in checkpoint.identities.items()
        if name in numbers and name in METRICS
    ]


def _anchor(numbers: Mapping[str, float], name: str, source: str, images: int) -> Anchor | None:
    if name not in numbers:
        return None
    return Anchor(numbers[name], source, images, numbers.get(f"{name}_corrected"), numbers.get(f"{name}_error"))


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _metadata(facts: CardFacts, data: str, family: str, scores: list[Score]) -> dict[str, Any]:
    """The block of metadata; scores stand in it as results of the model, as the hub's `model-index` wants them."""
    block: dict[str, Any] = {
        "license": facts.licence,
        "library_name": "gensweep" if facts.target == "safetensors" else facts.target,
        "pipeline_tag": TASK,
        "tags": ["gensweep", family.lower().replace(" ", "-"), "image-generation", data],
    }
    if scores:
        results = [
            {
                "task": {"type": TASK},
                "dataset": {"type": data, "name": each.identity.reference.partition("#")[0]},
                "metrics": [
                    {
                        "type": each.metric,
                        "name": f"{metric_title(each.metric, each.identity)} ({each.identity.samples:,} images)",
                        "value": each.value,
                    }
                ],
            }
            for each in scores
        ]
        block["model-index"] = [{"name": facts.name, "results": results}]
    return block


def _public(value: Any) -> Any:
    """Settings, or one of them; of paths on this machine the names alone."""
    if isinstance(value, Mapping):
        return {name: _public(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and value.startswith(("/", "~", ".")) else value


def _public_command(command: str) -> str:
    """A command; of absolute paths in its words the names alone."""
    return re.sub(r"'[^']*'|[^\s']+", lambda word: re.sub(r"(^'?|[=\s,])[~/].*/(?=[^'])", r"\1", word[0]), command)


def _data_words(kind: str, tree: Mapping[str, Any]) -> str:
    data = tree["data"]
    name = _public(data["dataset"]) if data.get("dataset") else kind
    return f"{name} ({', '.join(data['classes'])})" if data.get("classes") else str(name)


def _fresh_words(trial: TrialState | None) -> str:
    """The scores on fresh seeds, without the luck of the best of many; "" if there are none."""
    if trial is None:
        return ""
    again = "" if trial.rescored is None else f"On fresh seeds it scores {score_words(trial.rescored.value)}."
    further = "; ".join(map(format_further, trial.further_scores))
    return f"{again} Further on fresh seeds: {further}.".strip() if further else again
