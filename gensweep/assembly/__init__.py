"""Where a configuration meets the maths: from a TrialConfig to data, family, evaluator; then a training, or images."""

from gensweep.assembly.bases import Base, read_base
from gensweep.assembly.editing import edit_samples, interpolate_samples, picture_for, redraw_for
from gensweep.assembly.exported import ExportedGenerator
from gensweep.assembly.imported import EvaluationProtocol, ImportedEvaluation, evaluate_folder, evaluate_generator
from gensweep.assembly.model import Model, draw_samples, load_checkpoint, score
from gensweep.assembly.outcomes import Outcome, known_outcomes, samples_of, try_sampling_configs
from gensweep.assembly.parts import (
    build_evaluator,
    build_extractor,
    build_family,
    build_learner,
    build_loader,
    default_device,
    every_of,
    hold_out,
    load_images,
)
from gensweep.assembly.running import Place, count_parameters, estimate_cost, run, run_job
from gensweep.assembly.sampling_configs import Axes, SamplingConfig, left_behind, sampling_configs, weights_name
from gensweep.training.estimate import Cost

__all__ = [
    "Axes",
    "Base",
    "Cost",
    "EvaluationProtocol",
    "ExportedGenerator",
    "ImportedEvaluation",
    "Model",
    "Outcome",
    "Place",
    "SamplingConfig",
    "build_evaluator",
    "build_extractor",
    "build_family",
    "build_learner",
    "build_loader",
    "count_parameters",
    "default_device",
    "draw_samples",
    "edit_samples",
    "estimate_cost",
    "evaluate_folder",
    "evaluate_generator",
    "every_of",
    "hold_out",
    "interpolate_samples",
    "known_outcomes",
    "left_behind",
    "load_checkpoint",
    "load_images",
    "picture_for",
    "read_base",
    "redraw_for",
    "run",
    "run_job",
    "samples_of",
    "sampling_configs",
    "score",
    "try_sampling_configs",
    "weights_name",
]
