"""Scores of imported images, as they are printed."""

import pytest
from tiny import images

from gensweep.imported.scoring import ImportedEvaluation
from gensweep.imported.summary import score_of
from gensweep.training.evaluation import EvaluationResult


@pytest.mark.parametrize(("metric", "mode"), [("fd", "min"), ("recall", "max")])
def test_a_score_is_better_in_the_direction_of_its_metric(metric, mode):
    result = EvaluationResult({metric: 0.5}, images(1).pixels, 0.0, 1.0, {}, {})
    evaluation = ImportedEvaluation({"kind": "folder"}, result, {metric: {"metric": metric}}, 4, "cpu", ())
    assert score_of(evaluation, metric).mode == mode
