"""One run of MLflow as it stands there, and the requests that bring it up to date."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gensweep.redaction import redact_tree
from gensweep.results import OUTCOMES_FORMAT, Outcome
from gensweep.scratch import scratch_folder
from gensweep.tracking.logged_models import KEPT_IMAGES, delete_files, drop_models, example_label, log_model
from gensweep.tracking.store import is_refusal, skipping_refused
from gensweep.tracking.tags import RUN_STATUS

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Metric, Run
    from mlflow.tracking import MlflowClient
    from PIL import Image

logger = logging.getLogger(__name__)

#: Metrics that a server takes in one request.
MAX_METRICS = 1000
#: Params that a server takes in one request.
MAX_PARAMS = 100
#: Characters of a param's value that a server takes.
MAX_PARAM_LENGTH = 6000
#: Characters of a data set's digest that a server takes.
MAX_DIGEST_LENGTH = 36
#: Artifacts of earlier versions: checkpoints are models now, and details of trials are in several files.
FORMER_ARTIFACTS = ("checkpoint", "trials.json")
#: The artifact with the scores of later evaluations.
OUTCOMES = "evaluations.json"
#: Characters of a tag's value that a server takes.
MAX_TAG_LENGTH = 5000


class RunWriter:
    """A run; what it has already is not sent again."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.id, self._name = str(run.info.run_id), str(run.info.run_name)
        self.tags = dict(run.data.tags)
        self._client = client
        self._params = frozenset(run.data.params)
        self._status = str(run.info.status)
        self._artifacts = str(run.info.artifact_uri)
        self._datasets: set[str] = set()
        self._experiment = str(run.info.experiment_id)

    def log(
        self,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] = MappingProxyType({}),
        tags: Mapping[str, str | None] = MappingProxyType({}),
    ) -> None:
        """Add points to histories, set params and bring tags to these values; None takes one away.

        Points that are there already change nothing, and no param can ever change its value.  All goes in one request,
        unless it is too long or the store refuses a part of it: then the rest still goes.
        """
        from mlflow.entities import Param, RunTag

        new = [Param(key, value[:MAX_PARAM_LENGTH]) for key, value in params.items() if key not in self._params]
        cut = {key: value[:MAX_TAG_LENGTH] for key, value in tags.items() if value is not None}
        changed = {key: value for key, value in cut.items() if self.tags.get(key) != value}
        batches: list[dict[str, Any]] = [
            *({"metrics": metrics[start : start + MAX_METRICS]} for start in range(0, len(metrics), MAX_METRICS)),
            *({"params": new[start : start + MAX_PARAMS]} for start in range(0, len(new), MAX_PARAMS)),
            *([{"tags": [RunTag(*tag) for tag in changed.items()]}] if changed else []),
        ]
        if len({key for batch in batches for key in batch}) == len(batches) > 1:
            try:
                whole = {key: part for batch in batches for key, part in batch.items()}
                self._client.log_batch(self.id, **whole, synchronous=True)
                batches = []
            except Exception as error:
                if not is_refusal(error):
                    raise
        for batch in batches:
            with skipping_refused(self._name):
                self._client.log_batch(self.id, **batch, synchronous=True)
        self._params |= params.keys()
        self.tags.update(changed)
        for key in self.tags.keys() & (tags.keys() - cut.keys()):
            self._client.delete_tag(self.id, key)
            del self.tags[key]

    def set_status(self, status: str, ended_at: int | None) -> None:
        """Show how the sweep or trial stands, and since when (in milliseconds since 1970) if it has ended."""
        wanted = RUN_STATUS[status]
        if self._status == wanted:
            return
        if wanted == "RUNNING":
            self._client.update_run(self.id, status=wanted)
        else:
            self._client.set_terminated(self.id, wanted, end_time=ended_at)
        self._status = wanted

    def log_text(self, text: str, file: str) -> None:
        """Write an artifact."""
        self._client.log_text(self.id, text, file)

    def log_file(self, file: Path) -> None:
        """Copy a file to the artifacts, if there is one."""
        if file.is_file():
            self._client.log_artifact(self.id, str(file))

    def log_picture(self, file: Path, key: str, images: int, time: int) -> None:
        """Show a picture of a checkpoint, if there is one that can be read, at its number of training images."""
        prefix = f"images/{key}+step+{images}+"
        if not file.is_file() or any(
            item.path.startswith(prefix) for item in self._client.list_artifacts(self.id, "images")
        ):
            return
        if (image := self._read_picture(file)) is not None:
            self._client.log_image(self.id, image, key=key, step=images, timestamp=time)

    def _read_picture(self, file: Path) -> Image.Image | None:
        """A damaged picture would be as damaged at the next attempt, so it is said and passed over."""
        from PIL import Image

        try:
            with Image.open(file) as image:
                image.load()
        except Exception as error:  # decoders raise all sorts of things
            logger.warning("%s: the picture %s cannot be read and is not in MLflow: %s", self._name, file, error)
            return None
        return image

    def log_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Show scores of later evaluations: as curves over network evaluations, and in a file beside those it has."""
        metrics: list[Metric] = []
        for outcome in outcomes:
            curves = {_curve_name(outcome, name): score.value for name, score in outcome.scores.items()}
            metrics += metrics_of(curves, int(outcome.time * 1000), outcome.sampling.evaluations)
        self.log(metrics)
        in_order = sorted([*self._logged_outcomes(), *outcomes], key=lambda outcome: outcome.time)
        newest = {(outcome.checkpoint, outcome.key): outcome for outcome in in_order}
        record = {"format": OUTCOMES_FORMAT, "outcomes": [outcome.as_dict() for outcome in newest.values()]}
        self.log_text(json.dumps(record, indent=1) + "\n", OUTCOMES)

    def _logged_outcomes(self) -> list[Outcome]:
        """Those that the file has: other machines measure, too.  One that is damaged or of another format has none."""
        if all(item.path != OUTCOMES for item in self._client.list_artifacts(self.id)):
            return []
        with scratch_folder("outcomes") as aside:
            content = Path(self._client.download_artifacts(self.id, OUTCOMES, str(aside))).read_bytes()
        try:
            record = json.loads(content)
            return [Outcome.from_dict(each) for each in record["outcomes"] if record["format"] == OUTCOMES_FORMAT]
        except (ValueError, KeyError, TypeError):
            return []

    def log_datasets(self, references: Collection[str], config: Mapping[str, Any]) -> None:
        """Show the data that scores were measured against, by their digests; `config` is the section `data`."""
        from mlflow.entities import DatasetInput, InputTag

        source = json.dumps(redact_tree(dict(config)), default=str)
        new = [
            DatasetInput(_dataset(reference, source), [InputTag("mlflow.data.context", _context(reference))])
            for reference in sorted({*references} - self._datasets)
        ]
        if new:
            self._client.log_inputs(self.id, new)
        self._datasets |= {*references}

    def drop_former(self) -> None:
        """Delete what earlier versions kept among the artifacts."""
        for item in self._client.list_artifacts(self.id):
            if item.path in FORMER_ARTIFACTS:
                delete_files(f"{self._artifacts}/{item.path}")
        self.log(tags={"gensweep.kept_images": None})

    def keep_checkpoint(self, folder: Path, images: str) -> None:
        """Show a checkpoint as the run's model, in place of the one before.

        Raises GensweepError if it is gone or damaged: then the one before stays.
        """
        example_label(folder)
        self.drop_checkpoint()
        log_model(self._client, self._client.get_run(self.id), folder, images)
        self.log(tags={KEPT_IMAGES: images})

    def delete(self) -> None:
        """Take the run away, with its model unless that was registered."""
        if KEPT_IMAGES in self.tags:
            drop_models(self._client, self._experiment, self.id)
        self._client.delete_run(self.id)

    def drop_checkpoint(self) -> None:
        """Delete the run's model, unless it was registered."""
        drop_models(self._client, self._experiment, self.id)
        self.log(tags={KEPT_IMAGES: None})


def metrics_of(numbers: Mapping[str, float], time: int, step: int) -> list[Metric]:
    """Points of histories.  The store tells repeated ones by key, step, value and time (milliseconds since 1970)."""
    from mlflow.entities import Metric

    return [Metric(key, value, time, step) for key, value in numbers.items()]


def _dataset(reference: str, source: str) -> Dataset:
    """A data set of MLflow, of the words that identities of scores have: "digits/train (1,433 images, 16x16)#ab12"."""
    from mlflow.entities import Dataset

    words, _, digest = reference.rpartition("#")
    name, _, size = (words or reference).partition(" (")
    profile = json.dumps({"size": size.removesuffix(")")}) if size else None
    return Dataset(name, digest.rpartition(":")[2][:MAX_DIGEST_LENGTH], "gensweep", source, profile=profile)


def _context(reference: str) -> str:
    """What data are for, as MLflow calls it."""
    return "training" if reference.partition(" (")[0].endswith("/train") else "evaluation"


def _curve_name(outcome: Outcome, score: str) -> str:
    """One name for each curve of a score over network evaluations: "evaluate/fd_500/heun-guidance_2-ema@0.25"."""
    sampling, changed = outcome.sampling, outcome.changed
    extractor = (outcome.scores[score].identity.extractor or "").partition("/")[0]
    words = [
        sampling.sampler or "",
        "" if sampling.guidance is None else f"guidance_{sampling.guidance:g}",
        sampling.weights,
        f"seed_{outcome.seed}" if outcome.seed else "",
        f"by_{extractor}" if any(key.startswith("evaluation.extractor") for key in changed) else "",
        f"against_{changed['evaluation.against'].strip('/').replace('/', '-')}"
        if "evaluation.against" in changed
        else "",
    ]
    name = f"evaluate/{score}_{outcome.samples}/{'-'.join(word for word in words if word)}"
    return re.sub(r"[^/\w.\-]", "-", name)
