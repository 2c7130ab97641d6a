"""`gensweep data`: fetch, list and show data sets."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded
from gensweep.report.output import format_option, print_json, print_remark, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.data.images import Split

#: Prefix of data sets of the Hugging Face hub.
HUB = "hub:"


@click.group()
def data() -> None:
    """Fetch and show data sets.

    \b
    Examples:
      gensweep data list
      gensweep data fetch cifar10
      gensweep data show digits -o digits.png
    """


@data.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="A folder with the official binary files or archive of cifar10, used instead of a download.",
)
def fetch(name: str, source: Path | None) -> None:
    """Download a data set, or the weights of a feature extractor, to the cache folder and verify it.

    Each file is verified by its SHA-256; complete data sets are not downloaded again.  Prints the path, in
    $GENSWEEP_CACHE, or else in gensweep/ of $XDG_CACHE_HOME or ~/.cache.

    \b
    Examples:
      gensweep data fetch cifar10
      gensweep data fetch cifar10 --from ~/Downloads
      gensweep data fetch FashionMNIST
      gensweep data fetch inception          the network of the literature's FID
    """
    from gensweep.data.images import DATASETS, FETCHERS
    from gensweep.files import cache_folder
    from gensweep.metrics.extractors import EXTRACTORS
    from gensweep.metrics.weights import PUBLISHED

    report = partial(click.echo, err=True)
    if name in FETCHERS:
        click.echo(FETCHERS[name](cache_folder(), source=source, report=report))
    elif name in EXTRACTORS and name in PUBLISHED:
        click.echo(PUBLISHED[name].fetch(cache_folder(), report))
    else:
        _check_kind(name, list(dict.fromkeys([*DATASETS, *FETCHERS, *EXTRACTORS])))
        click.echo(f"{name} needs no download.", err=True)


@data.command("list")
@format_option
def list_(format: str) -> None:
    """List the data sets, and whether they are on this machine.

    \b
    Example:
      gensweep data list --format json
    """
    from gensweep.data.images import DATASETS, NAMED_DATASETS

    kinds = {kind: (kind, dict[str, str]()) for kind in DATASETS}
    abouts = {kind: (inspect.getdoc(DATASETS[kind]) or "").split("\n\n")[0] for kind in DATASETS}
    rows = [
        {
            "name": name,
            "state": _state(name, kind, settings),
            "about": f"data: {{kind: {kind}, dataset: {name}}}" if settings else abouts[kind],
        }
        for name, (kind, settings) in (kinds | NAMED_DATASETS).items()
    ]
    print_rows(rows, format)


@data.command()
@click.argument("name", metavar="NAME|FOLDER|hub:NAME")
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True, help="Which part.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only this class; may be given several times.")
@click.option("--size", type=int, metavar="PIXELS", help="Pixels of each side.  [default: 32]")
@click.option("--channels", type=int, metavar="1|3", help="Grey or RGB, for your own folder.  [default: 3]")
@click.option("--limit", type=int, metavar="IMAGES", help="Only the first images, at most this many.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Write a contact sheet.",
)
@format_option
def show(name: str, split: Split, output: Path | None, format: str, **options: Any) -> int:
    """Show a data set: images of each class, size, fingerprint.

    For a folder of pictures it also reports original sizes, crops, duplicates within and across train and test, and
    unreadable files.  The exit code is 1 if training would refuse the folder.

    \b
    Examples:
      gensweep data show cifar10 --class horse --class cat
      gensweep data show ./photos --size 64 -o photos.png
      gensweep data show hub:ylecun/mnist      downloaded from the Hugging Face hub if needed
    """
    from gensweep.config.models import bind, item_model
    from gensweep.config.problems import valid
    from gensweep.config.schema import validate
    from gensweep.config.tree import Tree
    from gensweep.config.yaml import to_yaml
    from gensweep.data.folder_report import inspect_folder
    from gensweep.data.images import DATASETS
    from gensweep.files import cache_folder
    from gensweep.training.result_files import write_contact_sheet

    kind, settings = _resolved(name, options)
    dataset = bind(valid(*validate(item_model(DATASETS, kind), Tree({"kind": kind, **settings}), kind)))
    if kind == "image_folder":
        images, report = inspect_folder(split, cache_folder(), **dataset.keywords)
    else:
        images, report = dataset(split, cache_folder()), None
    if output is not None:
        write_contact_sheet(images, output)
        click.echo(f"wrote {output}", err=True)
    counts = images.labels.bincount(minlength=images.classes).tolist()
    rows = [{"class": each, "images": count} for each, count in zip(images.class_names, counts, strict=True)]
    refused = report is not None and report.refused
    if format == "json":
        facts = {
            "name": images.name,
            "images": len(images),
            "shape": [images.channels, images.size, images.size],
            "flip": images.flip,
            "fingerprint": images.fingerprint,
            "notes": list(images.notes),
        }
        print_json({**facts, "classes": rows, "folder": report and asdict(report)})
        return int(refused)
    if format == "table":
        click.echo(f"{images.name}: {len(images)} images of {images.channels} x {images.size} x {images.size}")
        click.echo(f"fingerprint {images.fingerprint}")
        mirrored = "are in training; to exclude them, set flip: false" if images.flip else "are not in training"
        click.echo(f"mirror images {mirrored}")
    print_rows(rows, format)
    if format == "table" and report is not None:
        click.echo("\n" + "\n".join(report.lines()))
    for note in images.notes:
        click.echo(f"Note: {note}", err=True)
    print_warnings(report.warnings if report else ())
    if format == "table" and not refused:
        chosen = to_yaml({"kind": kind, **settings}, one_line=True)
        print_remark("Next:", shlex.join(["gensweep", "tune", "everything", "--set", f"data={chosen}", "--dry-run"]))
    return int(refused)


def _resolved(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a data set by its name, and the given settings."""
    from gensweep.data.images import DATASETS, NAMED_DATASETS

    settings = {key: value for key, value in options.items() if value not in (None, ())}
    place = expanded(name)
    if name.startswith(HUB):
        name, settings = "hub", {"dataset": name.removeprefix(HUB)} | settings
    elif place.exists() and (name not in DATASETS or _needed(name)):
        parquet = next(place.rglob("*.parquet"), None) is not None
        name, settings = (
            ("hub", {"dataset": name} | settings) if parquet else ("image_folder", {"path": name} | settings)
        )
    kinds = DATASETS.kinds()  # also loads the names
    if name in NAMED_DATASETS:
        name, named = NAMED_DATASETS[name]
        settings = named | settings
    _check_kind(name, [*kinds, *NAMED_DATASETS])
    if missing := _needed(name) - settings.keys():
        raise ConfigError(f"{name}: name the {'folder' if 'path' in missing else 'data set'} itself: {_by_name(name)}")
    return name, settings


def _check_kind(name: str, known: Sequence[str]) -> None:
    from gensweep.config.problems import unknown

    if name not in known:
        raise ConfigError(unknown(name, "a data set or a folder", known))


def _needed(kind: str) -> set[str]:
    """The required settings of a kind of data set."""
    from gensweep.data.images import DATASETS
    from gensweep.registry import keywords

    return {key for key, each in keywords(DATASETS[kind]).items() if each.default is inspect.Parameter.empty}


def _by_name(kind: str) -> str:
    """How to name a data set of a kind that needs more than its own name."""
    from gensweep.data.images import NAMED_DATASETS

    names = [name for name, (other, _) in NAMED_DATASETS.items() if other == kind]
    return ", ".join(names) or (f"{HUB}OWNER/NAME" if kind == "hub" else "gensweep data show FOLDER")


def _state(name: str, kind: str, settings: dict[str, str]) -> str:
    from gensweep.data.images import DATASETS, FETCHERS
    from gensweep.files import cache_folder

    if _needed(kind) - settings.keys():
        return "your own" if "path" in _needed(kind) else _by_name(kind)
    if name not in FETCHERS:
        return "ready"
    try:
        DATASETS[kind]("test", cache_folder(), limit=1, **settings)
    except ConfigError:
        return f"run: gensweep data fetch {name}"
    except GensweepError:
        return f"damaged; run: gensweep data fetch {name}"
    return "ready"
