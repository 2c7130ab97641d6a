"""A trained model for MLflow to load and serve: rows with requests in, one row per image out.

`mlflow models serve` and `mlflow.pyfunc.load_model` call `_load_pyfunc` with the folder of a checkpoint.
"""

from __future__ import annotations

import base64
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep import plugins
from gensweep.build.model import Model, load_checkpoint
from gensweep.config.trial_config import written_plugins
from gensweep.errors import GensweepError
from gensweep.training.checkpoint import read

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

#: Most images of one request: larger requests would exceed the server's time-out.
MAX_IMAGES = 1024


class ServedModel:
    """Generates the images that the rows of a request ask for."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, model_input: DataFrame, params: dict[str, Any] | None = None) -> DataFrame:
        """One row per image: `image`, a PNG in base64, with the `label` and `seed` of its request.

        Each row of the input asks for `images` images (default 1) of a `seed` (default 0), of one class `label` or of
        all in turn.  Raises MlflowException, for which a server returns status 400, for impossible requests.
        """
        import pandas
        from mlflow.exceptions import MlflowException

        asked = [
            {key: value for key, value in row.items() if not pandas.isna(value)}
            for row in model_input.to_dict(orient="records")
        ]
        try:
            counts = [int(row.get("images", 1)) for row in asked]
            seeds = [int(row.get("seed", 0)) for row in asked]
        except (TypeError, ValueError, OverflowError) as error:
            raise MlflowException.invalid_parameter_value(f"images and seed are whole numbers ({error})") from error
        if min(counts, default=1) < 1 or sum(counts) > MAX_IMAGES:
            raise MlflowException.invalid_parameter_value(
                f"images: {counts} are too many or too few; request 1 or more per row, at most {MAX_IMAGES} in all"
            )
        drawn = []
        for row, count, seed in zip(asked, counts, seeds, strict=True):
            label = row.get("label")
            try:
                images = self._model.sample(count, label=None if label is None else str(label), seed=seed)
            except GensweepError as error:
                raise MlflowException.invalid_parameter_value(str(error)) from error
            # Without a label, all classes in turn.
            known = (label,) if label else self._model.class_names if self._model.family.classes else ()
            names = itertools.cycle(known or ("",))
            drawn += [{"image": _png(image), "label": next(names), "seed": seed} for image in images]
        return pandas.DataFrame(drawn, columns=["image", "label", "seed"])


def _load_pyfunc(data_path: str) -> ServedModel:
    folder = Path(data_path)
    for name in written_plugins(read(folder).metadata):
        plugins.load(name)
    return ServedModel(load_checkpoint(folder))


def _png(image: Tensor) -> str:
    """An image, uint8 (c, h, w), as a PNG in base64."""
    from torchvision.transforms.functional import to_pil_image

    file = io.BytesIO()
    to_pil_image(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
