"""`gensweep finetune`: fine-tune a trained model on a few images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gensweep.cli.sweep_options import root_option, set_option, storage_option
from gensweep.errors import ConfigError

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("run")
@click.option("--data", type=FOLDER, help="Folder of pictures; its name is the new class.")
@click.option("--class", "class_name", metavar="NAME", help="A class of the base's data set.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Use only the first N images.")
@click.option("--rank", type=click.IntRange(1), help="Rank of the updates.  [default: 4]")
@click.option("--alpha", type=click.FloatRange(0, min_open=True), help="Scales updates by alpha/rank.  [default: rank]")
@click.option(
    "--target",
    metavar="LAYERS",
    help="all, attention, conv, linear, labels (no layer), or a regular expression for layers.  [default: all]",
)
@click.option(
    "--update",
    type=click.Choice(["lora", "full", "scratch"]),
    default="lora",
    show_default=True,
    help="Low-rank updates; for comparison, all weights, or all weights from random values.",
)
@click.option("--name", help="Name of the run.  [default: from the base and the images]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Data-parallel workers.")
@set_option("Change one value, for example --set training.images=20000. May be given several times.")
@root_option
@storage_option
def finetune(
    run: str,
    data: Path | None,
    class_name: str | None,
    limit: int | None,
    update: str,
    name: str | None,
    workers: int,
    overrides: tuple[str, ...],
    root: Path,
    storage: str | None,
    **given: Any,
) -> int:
    """Teach a trained model new images by low-rank updates (LoRA).

    RUN is SWEEP (its best score), SWEEP/TRIAL, or a checkpoint folder. Its weights do not change; the update is a
    small file, adapter.safetensors, in each checkpoint. An unknown class becomes a new label.

    \b
    Examples:
      gensweep finetune ddpm-cifar10 --class horse --limit 50
      gensweep finetune ddpm-cifar10 --data photos/dunes --rank 8 --target attention
      gensweep finetune ddpm-cifar10 --class horse --limit 50 --update full --name horse-full
      gensweep sample ddpm-cifar10-horse --class horse
      gensweep sample ddpm-cifar10 --adapter ddpm-cifar10-horse:0.7 --class horse
      gensweep tune --resume ddpm-cifar10-horse            resume after an interruption
    """
    if (data is None) == (class_name is None):
        raise click.UsageError(f"Give either --data FOLDER or --class NAME: gensweep finetune {run} --class cat")
    from gensweep.api.sweeps import tune
    from gensweep.config import parse_overrides
    from gensweep.config.sweep_config import name_like
    from gensweep.extras.finetuning.inherited_settings import trial_for_few_images, with_base
    from gensweep.run.planning import single_trial
    from gensweep.sweep.stored_sweeps import named_trial
    from gensweep.tracking.checkpoints import checkpoint_folder

    settings = {name: value for name, value in given.items() if value is not None}
    if update != "lora" and settings:
        idle = "applies only to low-rank updates; leave it out, or leave out --update"
        raise ConfigError([f"--{name}: {idle} {update}" for name in settings])
    limited = {} if limit is None else {"data.limit": limit}
    trial = trial_for_few_images(
        checkpoint_folder(run, root).resolve(),
        {"kind": update, **settings},
        folder_of_images=data,
        class_name=class_name,
        changes=limited | parse_overrides(overrides),
        workers=workers,
    )
    images = class_name if data is None else data.resolve().name
    base = Path(run).resolve().parent.name if named_trial(run, root) is None else run
    sweep = single_trial(name or name_like(f"{base}-{images}"), trial, workers)
    return tune(with_base(sweep), root=root, storage=storage).exit_code
