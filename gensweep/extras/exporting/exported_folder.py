"""The folder of an export: written under a temporary name with its card and picture, then renamed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError

from gensweep import plugins
from gensweep.build.model import Model, labels_of, load_checkpoint
from gensweep.config import parse_overrides
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.exporting.export_command import TARGETS
from gensweep.extras.exporting.model_card import model_card
from gensweep.files import replace_folder, write_problem
from gensweep.report.output import progress_bar
from gensweep.report.sample_files import write_pictures
from gensweep.sweep.provenance import command_line
from gensweep.sweep.stored_sweeps import command_of, named_trial
from gensweep.tracking.checkpoints import checkpoint_folder
from gensweep.training.learner_state import weights_prefix

#: Images in the card's picture, rounded to the same number per class.
SHOWN_IMAGES = 32
PICTURE_FILE = "samples.png"
CARD_FILE = "README.md"
ROOT = Path("exported")
#: Targets that need the package of the same name, from the extra `export`.
PACKAGES = ("diffusers", "onnx")


def export_run(
    run: str, target: str, output: Path | None, force: bool, ema: str | None, licence: str, overrides: tuple[str, ...]
) -> tuple[Path, bool]:
    """Export a run or a checkpoint folder; returns the folder, and True if it includes Python code.

    An interrupted export leaves nothing.  Raises ConfigError for an unsupported model, a missing package, or a folder
    that exists and may not be replaced; GensweepError for a damaged checkpoint or a full disk.
    """
    if target in PACKAGES and importlib.util.find_spec(target) is None:
        raise ConfigError(f"--to {target} needs the package {target}; run: pip install 'gensweep[export]'")
    changes = parse_overrides(overrides)
    trial = named_trial(run)
    source = checkpoint_folder(trial or run)
    name = source.resolve().name if trial is None else trial.name.replace("/", "-")
    folder = output or ROOT / f"{name}-{target}"
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise ConfigError(f"--output {folder} contains the current folder; name a new folder")
    if source.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--output {folder} contains the model to export; name a new folder")
    if folder.exists() and not force:
        raise ConfigError(f"--output {folder} exists; name another folder, or add --force to replace it")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and not names >= {CARD_FILE, PICTURE_FILE}:
        raise ConfigError(f"--output {folder} is not an export, so --force cannot replace it; name another folder")
    if (problem := write_problem(folder)) is not None:
        raise GensweepError(f"--output {folder}: {problem}")
    model = load_checkpoint(source, overrides=changes, weights=ema, device="cpu")
    changed = [f"{key}={value}" for key, value in changes.items()]
    if weights_prefix(model.weights, model.family.sampled) != model.checkpoint.weights:
        changed.append(f"the weights {model.weights}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        aside = Path(scratch) / folder.name
        aside.mkdir()
        try:
            usage = plugins.load_offered(plugins.offered(TARGETS)[target])(model, aside)
        except SafetensorError as error:
            raise GensweepError(f"{folder} cannot be written ({error}); is the disk full?") from error
        _write_picture(model, source, aside / PICTURE_FILE, drawn_before=not changed)
        text = model_card(
            model,
            usage,
            target=target,
            name=name,
            licence=licence,
            command=command_line(),
            trained_by="" if trial is None else command_of(trial),
            changes=changed,
            trial=trial,
        )
        card = aside / CARD_FILE
        card.write_text(text, encoding="utf-8")
        for file in filter(Path.is_file, aside.rglob("*")):
            file.chmod(card.stat().st_mode)  # some libraries make weights readable by their owner only
        has_code = any(aside.rglob("*.py"))
        replace_folder(aside, folder)
    return folder, has_code


def _write_picture(model: Model, source: Path, file: Path, *, drawn_before: bool) -> None:
    """The checkpoint's picture, or one of newly generated images."""
    if drawn_before and (source / PICTURE_FILE).is_file():
        shutil.copyfile(source / PICTURE_FILE, file)
        return
    classes = model.family.classes
    count = SHOWN_IMAGES if not classes else classes * max(1, SHOWN_IMAGES // classes)
    with progress_bar(PICTURE_FILE, count) as progress, torch.no_grad():
        images = model.sample(count, progress=lambda done, _: progress(done))
    rows = (labels_of(model, count, None).cpu(), model.class_names) if classes > 1 else None
    write_pictures(images, file, classes=rows)
