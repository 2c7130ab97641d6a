"""`gensweep export`: a trained model as a folder for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gensweep import plugins
from gensweep.cli.sweep_options import set_option
from gensweep.report.output import format_option, print_rows

#: Entry-point group of export targets, functions such as those in `export_targets`.
TARGETS = "gensweep.export_targets"
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("run")
@click.option("--to", "target", type=click.Choice([*plugins.offered(TARGETS)]), required=True, help="Format.")
@click.option("-o", "--output", type=FOLDER, help="Folder to write.  [default: exported/RUN-TO]")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@click.option(
    "--ema",
    metavar="FACTOR",
    help="Averaged weights by a multiple of training.ema_half_life, such as 0.25; raw for none.  [default: 1]",
)
@click.option("--license", "licence", default="unknown", show_default=True, help="Licence, such as apache-2.0.")
@set_option("Change a setting of sampling, for example --set sampler.kind=ddim --set sampler.steps=50.")
@format_option
def export(run: str, target: str, output: Path | None, format: str, **settings: Any) -> None:
    """Write a trained model as a folder for other programs, with a model card (README.md).

    RUN is SWEEP (its best score), SWEEP/TRIAL, or a checkpoint folder. A denoising model becomes a diffusers pipeline,
    or an ONNX denoiser with the steps of its sampler. Other models, and mean flows of a few steps, become an ONNX
    generator of z and labels. With --to safetensors, gensweep can load the folder as a checkpoint. You can upload the
    folder with hf upload.

    \b
    Examples:
      gensweep export quickstart --to safetensors
      gensweep export ddpm-cifar10 --to diffusers -o horses/ --license apache-2.0
      gensweep export ddpm-cifar10/t0003 --to onnx --set sampler.kind=ddim --set sampler.steps=50
      gensweep export dcgan-cifar10 --to onnx --ema 0.25
      gensweep export meanflow-digits --to onnx --set sampler.steps=2
    """
    from gensweep.extras.exporting.exported_folder import export_run

    folder, code = export_run(run, target, output, **settings)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print_rows([{"folder": str(folder), "to": target, "bytes": size, "own_code": code}], format)
    click.echo(f"To publish it: hf upload USER/NAME {folder}", err=True)
