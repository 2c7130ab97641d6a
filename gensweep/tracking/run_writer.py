"""Requests that update one run of MLflow."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gensweep.redaction import redact_tree
from gensweep.results import Outcome

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

#: Most characters of a param's value in MLflow.
MAX_PARAM_LENGTH = 6000
#: Most characters of a data set's digest in MLflow.
MAX_DIGEST_LENGTH = 36
#: Most characters of a tag's value in MLflow.
MAX_TAG_LENGTH = 5000


class RunWriter:
    """A run in MLflow.  Sends only differences."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.id = str(run.info.run_id)
        self.tags = dict(run.data.tags)
        self._client = client
        self._params = set(run.data.params)
        self._status = str(run.info.status)
        self._datasets: set[str] = set()

    def log(
        self,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] = MappingProxyType({}),
        tags: Mapping[str, str | None] = MappingProxyType({}),
    ) -> None:
        """Add points, set params, which keep their first value, and set tags; None deletes a tag."""
        from mlflow.entities import Param, RunTag

        new = [Param(key, value[:MAX_PARAM_LENGTH]) for key, value in params.items() if key not in self._params]
        cut = {key: value[:MAX_TAG_LENGTH] for key, value in tags.items() if value is not None}
        changed = {key: value for key, value in cut.items() if self.tags.get(key) != value}
        self._client.log_batch(self.id, metrics, new, [RunTag(*tag) for tag in changed.items()], synchronous=True)
        self._params |= params.keys()
        self.tags.update(changed)
        for key in self.tags.keys() & (tags.keys() - cut.keys()):
            self._client.delete_tag(self.id, key)
            del self.tags[key]

    def set_status(self, status: str, ended_at: int | None) -> None:
        """Set the status of a sweep or trial, and its end in milliseconds since 1970."""
        wanted = {"finished": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
        wanted = "RUNNING" if status in ("waiting", "paused", "running") else wanted
        if self._status == wanted:
            return
        if wanted == "RUNNING":
            self._client.update_run(self.id, status=wanted)
        else:
            self._client.set_terminated(self.id, wanted, end_time=ended_at)
        self._status = wanted

    def log_picture(self, file: Path, key: str, images: int, time: int) -> None:
        """Log a picture of a model, if it is readable, at its number of training images."""
        prefix = f"images/{key}+step+{images}+"
        if not file.is_file() or any(
            item.path.startswith(prefix) for item in self._client.list_artifacts(self.id, "images")
        ):
            return
        from PIL import Image

        try:
            with Image.open(file) as image:
                image.load()
        except Exception as error:  # decoders raise any exception
            logger.warning("the picture %s cannot be read and is not in MLflow: %s", file, error)
            return
        self._client.log_image(self.id, image, key=key, step=images, timestamp=time)

    def log_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Log scores of later evaluations as curves over network evaluations."""
        metrics: list[Metric] = []
        for outcome in outcomes:
            curves = {_curve_name(outcome, name): score.value for name, score in outcome.scores.items()}
            metrics += metrics_of(curves, int(outcome.time * 1000), outcome.sampling.evaluations)
        self.log(metrics)

    def log_datasets(self, references: Collection[str], config: Mapping[str, Any]) -> None:
        """Log the data of the scores, by digest; `config` is the section `data`."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source, new = json.dumps(redact_tree(dict(config)), default=str), []
        for reference in sorted({*references} - self._datasets):
            # A score's reference, such as "digits/train (1,433 images, 16x16)#ab12".
            words, _, digest = reference.rpartition("#")
            name, _, size = (words or reference).partition(" (")
            profile = json.dumps({"size": size.removesuffix(")")}) if size else None
            data = Dataset(name, digest.rpartition(":")[2][:MAX_DIGEST_LENGTH], "gensweep", source, profile=profile)
            context = "training" if name.endswith("/train") else "evaluation"
            new.append(DatasetInput(data, [InputTag("mlflow.data.context", context)]))
        if new:
            self._client.log_inputs(self.id, new)
        self._datasets |= {*references}


def metrics_of(numbers: Mapping[str, float], time: int, step: int) -> list[Metric]:
    """Points of metrics.  The store recognizes repeated ones by key, step, value and time (milliseconds since 1970)."""
    from mlflow.entities import Metric

    return [Metric(key, value, time, step) for key, value in numbers.items()]


def _curve_name(outcome: Outcome, score: str) -> str:
    """The name of a score's curve over network evaluations: "evaluate/fd_500/heun-guidance_2-ema@0.25"."""
    sampling, changed = outcome.sampling, outcome.changed
    guidance = "" if sampling.guidance is None else f"guidance_{sampling.guidance:g}"
    words = [sampling.sampler or "", guidance, sampling.weights, f"seed_{outcome.seed}" if outcome.seed else ""]
    if any(key.startswith("evaluation.extractor") for key in changed):
        words.append(f"by_{(outcome.scores[score].identity.extractor or '').partition('/')[0]}")
    if "evaluation.against" in changed:
        words.append(f"against_{changed['evaluation.against'].strip('/').replace('/', '-')}")
    name = f"evaluate/{score}_{outcome.samples}/{'-'.join(word for word in words if word)}"
    return re.sub(r"[^/\w.\-]", "-", name)
