"""Where a configuration meets the maths: from a TrialConfig to data, family and judge, and to a training or images."""

from gensweep.assembly.alternatives import Alternative, Axes, alternatives, left_behind, weights_name
from gensweep.assembly.bases import Base, read_base
from gensweep.assembly.editing import edit_samples, interpolate_samples, picture_for, redraw_for
from gensweep.assembly.exported import ExportedGenerator
from gensweep.assembly.foreign import Judged, Standard, judge_folder, judge_generator
from gensweep.assembly.interpretation import Driven, Interventions, Trajectory
from gensweep.assembly.model import Model, draw_samples, load_checkpoint, score
from gensweep.assembly.outcomes import Outcome, known_outcomes, samples_of, try_alternatives
from gensweep.assembly.parts import (
    build_extractor,
    build_family,
    build_judge,
    build_learner,
    build_loader,
    default_device,
    every_of,
    hold_out,
    load_images,
)
from gensweep.assembly.running import Place, count_parameters, estimate_cost, run, run_job
from gensweep.training.estimate import Cost

__all__ = [
    "Alternative",
    "Axes",
    "Base",
    "Cost",
    "Driven",
    "ExportedGenerator",
    "Interventions",
    "Judged",
    "Model",
    "Outcome",
    "Place",
    "Standard",
    "Trajectory",
    "alternatives",
    "build_extractor",
    "build_family",
    "build_judge",
    "build_learner",
    "build_loader",
    "count_parameters",
    "default_device",
    "draw_samples",
    "edit_samples",
    "estimate_cost",
    "every_of",
    "hold_out",
    "interpolate_samples",
    "judge_folder",
    "judge_generator",
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
    "score",
    "try_alternatives",
    "weights_name",
]
