"""Start and resume sweeps and trainings from Python.

Each sweep has a folder below `root`.  Progress and notes go to stderr, as with the commands.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click

from gensweep.api.running import run_sweep
from gensweep.build.costs import TrialCosts
from gensweep.build.parts import load_images
from gensweep.config import SweepConfig, TrialConfig, is_sweep, load_base, load_sweep, load_trial, parse_overrides
from gensweep.config.loading import Overrides, Source, extended
from gensweep.config.search_checks import extension_problem
from gensweep.config.sweep_checks import checked_sweep
from gensweep.config.sweep_config import Repeats, name_like
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded
from gensweep.results import Evaluation
from gensweep.run.deadline import fit_sweep, fit_training
from gensweep.run.planning import at_length, single_trial
from gensweep.search.reruns import Retry, with_changes
from gensweep.search.sweep_plan import InitialCheckpoint, SweepResult
from gensweep.shipped import space_file
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plugin_copies import install_kept_plugins
from gensweep.sweep.storage import attach
from gensweep.sweep.stored_sweeps import (
    evaluations_until,
    import_plugins,
    named_trial,
    stored_config,
    trained_trial,
    trial_config,
)
from gensweep.tracking.checkpoints import checkpoint_folder
from gensweep.training.checkpoint import Checkpoint, tensor_names, verify
from gensweep.training.start import STARTS, UNET_CONFIG, FromWeights

#: Settings that a longer training may change: they affect evaluation and saving, not learning.
FREE_SECTIONS = ("evaluation.", "sampler.")
FREE_SETTINGS = (
    "data.path",
    "start.base",
    "training.images",
    "training.device_seconds",
    "training.log_every",
    "training.checkpoint_interval",
)


def tune(
    space: Source | SweepConfig,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
    report: str | Path | None = None,
    deadline: float | None = None,
) -> SweepResult:
    """Sweep a search space, given as a YAML file, a mapping, or a name such as "ddpm": `gensweep tune`.

    `overrides` are values by dotted key, such as {"search.trials": 4}; `scale` is the name of one of the file's scales.
    `report` is an HTML file that is rewritten while the sweep runs.  A `deadline`, in seconds since 1970,
    determines the number of trials, and shortens them if few would fit.
    Failed trials do not raise; they are part of the result.  Raises ConfigError, with all problems found before
    training, and GensweepError if the storage or Ray does not work.
    """
    if not isinstance(space, SweepConfig):
        space = read_space(space, name=name, trials=trials, overrides=overrides, scale=scale, root=root)
    if deadline is not None:
        click.echo("Timing the extreme trials, to plan for the time ...", err=True)
        space = fit_sweep(space, deadline - time.time(), trials=trials)
    return run_sweep(space, root=Path(root), storage=storage, report=report, deadline=deadline)


def read_space(
    space: Source,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
    root: str | Path = SWEEPS,
) -> SweepConfig:
    """The sweep that `tune` runs.  Raises ConfigError with all problems."""
    named = {"name": name, "search.trials": trials}
    changes = {key: value for key, value in named.items() if value is not None}
    space = space_file(space) if isinstance(space, str) else space
    return _prepared(load_sweep(space, overrides=extended(overrides, changes), scale=scale), Path(root))


def resume(
    name: str,
    *,
    more_trials: int = 0,
    repeats: Repeats | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
    report: str | Path | None = None,
    deadline: float | None = None,
) -> SweepResult:
    """Resume a sweep, by its name or URL: `gensweep tune --resume`, `--extend` by `more_trials`, or `--repeat`.

    Raises ConfigError if there is no such sweep, or if it cannot have more trials.
    """
    folder, storage = _folder_of(name, Path(root), storage)
    options: dict[str, Any] = {"resume": not more_trials, "extend": more_trials, "repeats": repeats}
    sweep = stored_config(folder)
    if more_trials and (problem := extension_problem(sweep, sweep.nodes(), folder.state().wanted + more_trials)):
        raise ConfigError(f"{sweep.name}: {problem}")
    return run_sweep(sweep, root=Path(root), storage=storage, report=report, deadline=deadline, **options)


def retry(
    name: str,
    trials: str | Sequence[str] = (),
    *,
    overrides: Overrides = (),
    root: str | Path = SWEEPS,
    storage: str | None = None,
    report: str | Path | None = None,
    deadline: float | None = None,
) -> SweepResult:
    """Run failed trials of a sweep again, by default all: `gensweep tune --retry`.

    Raises ConfigError for trials that did not fail, and for overrides that would make scores incomparable.
    """
    folder, storage = _folder_of(name, Path(root), storage)
    sweep, changes = with_changes(stored_config(folder), parse_overrides(overrides))
    again = Retry((trials,) if isinstance(trials, str) else tuple(trials), changes)
    if folder.state().created is not None:  # otherwise the log is still in the storage
        again.check(folder)
    return run_sweep(sweep, root=Path(root), storage=storage, retry=again, report=report, deadline=deadline)


def train(
    config: Source | None = None,
    *,
    from_run: str | None = None,
    continue_from: str | Path | None = None,
    init_from: str | Path | None = None,
    name: str | None = None,
    workers: int = 1,
    cpus_per_worker: float = 1,
    gpus_per_worker: float | None = None,
    overrides: Overrides = (),
    scale: str | None = None,
    root: str | Path = SWEEPS,
    storage: str | None = None,
    deadline: float | None = None,
) -> SweepResult:
    """Train one configuration, given as a YAML file, a mapping or a run: `gensweep train`.

    For a search space, trains its base.  `continue_from` is a run or a checkpoint folder to train longer, up to the
    override of "training.images".  `init_from` is a run, a checkpoint folder or a folder of diffusers whose weights
    training starts with.  By default a worker uses a GPU if there is one.  With a `deadline`, in seconds since 1970,
    training fills the time until then.  Raises as `tune` does.
    """
    if init_from is not None:
        overrides = parse_overrides(overrides) | {"start": {"kind": "weights", "base": str(init_from)}}
    if sum(given is not None for given in (config, from_run, continue_from)) != 1:
        raise ConfigError(
            "pass either a configuration, from_run or continue_from; for example: gensweep train --from-run quickstart"
        )
    if config is None and scale is not None:
        raise ConfigError("a run has no scales; change single values with overrides")
    start = None
    if continue_from is not None:
        if deadline is not None:
            raise ConfigError("a continued training has a fixed length: set training.images, and no deadline")
        trial, start = _longer(continue_from, overrides, Path(root))
        default_name = name_like(start.run, "-longer")
    elif from_run is not None:
        trial, default_name = trial_of_run(from_run, overrides, Path(root)), name_like(from_run, "-again")
    else:
        assert config is not None
        config = space_file(config) if isinstance(config, str) else config
        stem = config.stem if isinstance(config, Path) else str(config.get("name", "mapping"))
        default_name = name_like(stem, "-train")
        if is_sweep(config):
            base = load_base(config, overrides=overrides, scale=scale)
            trial = at_length(base, base.trial({}), TrialCosts())
        else:
            trial = load_trial(config, overrides=overrides, scale=scale)
    sweep = single_trial(name or default_name, trial, workers, cpus_per_worker, gpus_per_worker)
    sweep, amend = _prepared(sweep, Path(root)), None if start is None else start.amend
    if deadline is not None:
        sweep = fit_training(sweep, deadline - time.time())
    return run_sweep(sweep, root=Path(root), storage=storage, amend=amend, deadline=deadline)


def _prepared(sweep: SweepConfig, root: Path) -> SweepConfig:
    """The sweep with the settings that its trials inherit from a base model."""
    whole = sweep.as_dict()
    resolved = {part: _resolved(whole[part], root) for part in ("base", "space")}
    sweep = sweep if whole == whole | resolved else checked_sweep(whole | resolved)
    searched = any(key.startswith(("start.kind", "start.choice")) for key, _ in flatten(sweep.space))
    if searched and not all(STARTS[trial.kind("start")].searchable for trial in sweep.corners):
        raise ConfigError("start.kind: cannot be searched, as trials inherit its settings; run a sweep for each kind")
    kind = sweep.base.get("start", {}).get("kind", "scratch")
    return cast(SweepConfig, STARTS[kind].prepare(sweep))


def _resolved(tree: Any, root: Path) -> Any:
    """Settings in which each start from weights names their folder.

    Raises ConfigError if weights are missing, damaged, or changed.
    """
    if isinstance(tree, list):
        return [_resolved(each, root) for each in tree]
    if not isinstance(tree, Mapping):
        return tree
    if tree.get("kind") != "weights":
        return {key: _resolved(value, root) for key, value in tree.items()}
    if not isinstance(tree["base"], str):
        raise ConfigError("start.base: list whole starts, such as start: {choice: [{kind: weights, base: RUN}, ...]}")
    path = expanded(tree["base"])
    try:
        unets = (each for each in (path / "unet", path) if (each / UNET_CONFIG).is_file())  # a pipeline, or its network
        base = next(unets, None) or checkpoint_folder(tree["base"], root)
        FromWeights(base=str(base), sha256=tree.get("sha256")).recorded()
    except GensweepError as error:
        raise ConfigError(f"start.base: {error}") from error
    return {**tree, "base": str(base.resolve())}


def _longer(run: str | Path, overrides: Overrides, root: Path) -> tuple[TrialConfig, InitialCheckpoint]:
    """The trial that continues a run, and the checkpoint where it starts."""
    named = named_trial(run, root) if isinstance(run, str) else None
    source = named and trained_trial(named)
    folder = checkpoint_folder(source or run)
    trial, checkpoint = _longer_trial(folder, parse_overrides(overrides))
    known: list[Evaluation] = []
    changed = _changed(TrialConfig.from_dict(checkpoint.metadata), trial) - {"evaluation.at", "evaluation.every"}
    if source is not None and not any(key.startswith(FREE_SECTIONS) for key in changed):  # scores stay comparable
        known = evaluations_until(source, checkpoint.images, trial.flat()["evaluation.metrics"][0])
    return trial, InitialCheckpoint(
        str(run), checkpoint.images, str(folder.resolve()), [each.as_dict() for each in known]
    )


def _longer_trial(folder: Path, overrides: Mapping[str, Any]) -> tuple[TrialConfig, Checkpoint]:
    """The trial of a checkpoint with the overrides, and its description.  Raises ConfigError if it cannot continue."""
    checkpoint = verify(folder)
    if not any(name.startswith("optimizers/") for name in tensor_names(folder)):
        raise ConfigError(f"{folder} has weights but no optimizer state, so training cannot continue from it")
    trained = TrialConfig.from_dict(checkpoint.metadata)
    # The end of a training with a time limit depends on its pace.
    trial = trained.with_overrides({"training.device_seconds": None, **overrides})
    changed = [key for key in sorted(_changed(trained, trial)) if key not in FREE_SETTINGS]
    if changed := [key for key in changed if not key.startswith(FREE_SECTIONS)]:
        raise ConfigError(
            f"{changed[0]}: a continued training keeps its settings, here "
            f"{trained.flat().get(changed[0])!r}; to change it, start again: gensweep train --from-run"
        )
    after = trial.flat()
    further = after["training.images"] > checkpoint.images and after["training.device_seconds"] is None
    if "training.images" not in overrides or not further:
        raise ConfigError(
            f"training.images: the checkpoint {folder} was trained with {checkpoint.images:,} images; set "
            f"a larger number, for example --set training.images={2 * checkpoint.images}"
        )
    images = load_images(trial)
    if (images.class_names, images.class_counts) != (checkpoint.class_names, checkpoint.class_counts):
        raise ConfigError(
            f"data: found {len(images):,} images of {len(images.class_names)} classes, but the checkpoint was "
            f"trained with {sum(checkpoint.class_counts):,} of {len(checkpoint.class_names)}; to continue "
            "with the same images, add --set data.path=FOLDER"
        )
    return trial, checkpoint


def _changed(one: TrialConfig, other: TrialConfig) -> set[str]:
    before, after = one.flat(), other.flat()
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


def trial_of_run(run: str, overrides: Overrides, root: Path) -> TrialConfig:
    """The configuration of a run, with overrides; imports its plug-ins."""
    trial = trained_trial(run, root)
    import_plugins(trial)
    return TrialConfig.from_dict(trial_config(trial)).with_overrides(parse_overrides(overrides))


def _folder_of(name: str, root: Path, storage: str | None) -> tuple[SweepFolder, str | None]:
    """The folder of a sweep by name, created from its storage if needed; and the storage, if given."""
    if "/" in name:
        if storage is not None:
            raise ConfigError(f"{name} already names the storage; omit --storage")
        name, storage = attach(root, name)
    folder = SweepFolder(root, name)
    folder.check_name(resume=True)
    settings = dict(flatten(folder.settings["sweep"]))
    if "base.family.sha256" in settings:
        raise ConfigError(
            f"{folder.name} was only scored here ({settings.get('base.family.path', 'path unknown')}): there is no "
            "training to continue; name a sweep of tune or train"
        )
    for module in install_kept_plugins(folder):
        click.echo(f"Note: the code of the plug-in {module} is the sweep's own copy", err=True)
    return folder, storage
