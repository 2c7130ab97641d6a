"""The report as one offline HTML file: verdict, ranking, samples, figures, and commands to repeat the result."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape
from PIL import Image

from gensweep import plugins
from gensweep.config.yaml import to_yaml
from gensweep.errors import GensweepError
from gensweep.files import write_bytes
from gensweep.report import wording
from gensweep.report.by_eye import report_part
from gensweep.report.caveats import caveats, format_diversity, trial_warnings
from gensweep.report.charts import budget_figure, draw_charts, format_importance, importance_rows, series_of
from gensweep.report.commands import left_out_reasons, reproduce_command
from gensweep.report.figures import SYMBOL_PATHS
from gensweep.report.verdict import format_rung, format_sentences
from gensweep.results import family_name
from gensweep.sweep.stored_sweeps import trial_config
from gensweep.verdict.comparison import Comparison, RankedTrial
from gensweep.verdict.importance import importance
from gensweep.verdict.pareto import objective_front, pareto_rows, sampling_unit
from gensweep.verdict.recommendation import Recommendation

if TYPE_CHECKING:
    from jinja2 import Environment


def breakable(text: str) -> Markup:
    """Text that breaks after a slash first, and never before %; a command after a colon becomes code."""
    words, colon, command = text.partition(": gensweep ")
    found = escape(words).replace("/", Markup("/<wbr>")).replace(" %", "\u00a0%")
    if not colon:
        return found
    command, semicolon, rest = f"gensweep {command}".partition("; ")
    code = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in command.split())
    return Markup("{}: <code>{}</code>{}{}").format(found, code, semicolon, breakable(rest))


#: Filters of the template, in addition to all functions of `wording`.
FILTERS = (breakable, family_name, format_diversity, format_importance, format_rung, importance_rows, trial_warnings)
#: Rows of the ranking that are visible at first, and rows on the page; 10,000 rows would be 9 MB.
TABLE_ROWS, MOST_ROWS = 12, 1000
#: Seconds between two reloads of the page while its sweeps run.
RELOAD_SECONDS = 10
#: Most trials and evaluations of the gallery, and the longest side of its pictures: 36 pictures stay below 1 MB.
GALLERY_TRIALS, GALLERY_COLUMNS, GALLERY_PIXELS = 6, 6, 224
#: Largest number of sample grids.
MAX_GRIDS = 8
#: Largest number of images in a row of a thumbnail.
THUMBNAIL_COLUMNS = 4
#: Longest side of a picture in pixels, and its WebP quality: 17 pictures stay below 5 MB.
MAX_PIXELS, QUALITY = 1024, 90


def write_report(comparison: Comparison, judged: Recommendation, file: Path) -> None:
    """Write the page atomically.  Raises GensweepError if the file cannot be written."""
    write_whole(file, render(comparison, judged), "name another file: -o FILE")


def render(comparison: Comparison, judged: Recommendation, *, live: str = "") -> str:
    """The page as text.  All user input is escaped.  `live`, the progress of its sweeps, makes it reload itself."""
    pages, groups, sentences = environment(), comparison.groups, format_sentences(comparison, judged)
    ranking = [entry for entry in comparison.entries if entry.rank <= MOST_ROWS or entry is judged.recommended]
    shown = [judged.recommended if judged.recommended in group else group[0] for group in groups.values()][:MAX_GRIDS]
    pages.filters |= {name: each for name, each in vars(wording).items() if callable(each)}
    pages.filters |= {each.__name__: each for each in FILTERS}
    return pages.get_template("report.html.j2").render(
        comparison=comparison,
        headline=sentences[0],
        sentences=sentences[1:],
        warnings=list(caveats(comparison, judged)),
        recommended=judged.recommended,
        left_out=left_out_reasons(comparison),
        ranking=ranking,
        unlisted=len(comparison.entries) - len(ranking),
        pareto=pareto_rows(comparison, judged) if len(comparison.entries) > 1 else [],
        front=objective_front(comparison),
        sampling_unit=sampling_unit,
        intervals=any(entry.score.interval for entry in comparison.entries),
        close={tie.trial.name for tie in comparison.ties},
        grids=[(entry, urls, _picture(entry, "suspects")) for entry in shown if (urls := _picture(entry, "samples"))],
        real=next(filter(None, (_picture(entry, "real") for entry in shown)), None),
        second_look=judged.second_look,
        pair=[
            (entry, _picture(entry, "samples")) for entry in (judged.recommended, judged.runner_up) if entry is not None
        ],
        gallery=gallery(comparison, judged),
        groups=[comparison.group_name(group) for group in groups],
        series_of=lambda entry: series_of(comparison, entry),
        symbols=SYMBOL_PATHS,
        table_rows=TABLE_ROWS,
        lead=budget_figure(comparison, judged),
        charts=draw_charts(comparison, judged),
        importance=importance(comparison),
        config=to_yaml(trial_config(judged.recommended.trial)),
        command=reproduce_command(judged.recommended.trial),
        by_eye=report_part(sweep.folder for sweep in comparison.sweeps),
        parts=[
            plugins.load_offered(each)(comparison, judged) for each in plugins.offered(plugins.REPORT_PARTS).values()
        ],
        **script_of("report.js"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        live=live,
        reload_seconds=RELOAD_SECONDS,
    )


def _picture(entry: RankedTrial, key: str) -> tuple[str, str] | None:
    """Picture of a trial's best evaluation, else of its latest: thumbnail and whole, as data URLs; None without one."""
    trial = entry.trial
    kept = {} if trial.folder is None else trial.folder.pictures_of(trial.trial, key)
    if not kept:
        return None
    best = 0 if trial.best is None else trial.best.evaluation.images
    with Image.open(kept.get(best, kept[max(kept)])) as picture:
        return encode(_first_images(picture)), encode(picture)


def gallery(comparison: Comparison, judged: Recommendation) -> list[tuple[RankedTrial, list[tuple[str, str] | None]]]:
    """For some trials, the first images after each share of the training: pictures with captions, None without one.

    Shows the recommended trial, running ones and the best others; empty if all pictures are of one share.
    """
    first = sorted(
        comparison.entries, key=lambda each: (each is not judged.recommended, each.trial.status != "running")
    )
    kept = {entry.trial.name: _evaluations(entry) for entry in first[:GALLERY_TRIALS]}
    found = sorted({percent for pictures in kept.values() for percent in pictures})
    if (last := min(len(found), GALLERY_COLUMNS) - 1) < 1:
        return []
    columns = [found[round(place * (len(found) - 1) / last)] for place in range(last + 1)]
    shown = [(entry, each) for entry in comparison.entries if (each := kept.get(entry.trial.name))]
    return [(entry, [_tile(*each[column]) if column in each else None for column in columns]) for entry, each in shown]


def _evaluations(entry: RankedTrial) -> dict[int, tuple[Path, str]]:
    """Picture and caption of each evaluation of a trial, by percent of the training; none of an imported one."""
    found, trial = dict[int, tuple[Path, str]](), entry.trial
    for images, event in () if trial.imported else trial.evaluations.items():
        percent = int(100 * images / (trial.length or max(trial.evaluations)) + 1e-6)
        scores = event.evaluation.scores.values()
        values = [wording.score(each.value) for each in scores if each.identity == entry.score.identity]
        if trial.folder and (file := trial.folder.picture(event.trial, images, "samples")).is_file():
            found[percent] = file, ": ".join([f"{percent} %", *values])
    return found


def _tile(file: Path, caption: str) -> tuple[str, str]:
    with Image.open(file) as picture:
        return encode(_first_images(picture), GALLERY_PIXELS), caption


def encode(picture: Image.Image, pixels: int = MAX_PIXELS) -> str:
    """A picture, made smaller if needed, as a data URL."""
    file = io.BytesIO()
    picture.thumbnail((pixels, pixels))
    picture.convert("RGB").save(file, "WEBP", quality=QUALITY)
    return data_url("picture.webp", file.getvalue())


def _first_images(grid: Image.Image) -> Image.Image:
    """A square of the first images of a grid with a layout (see `write_grid`), else its upper left quarter."""
    side, corners = json.loads(grid.info.get("layout", "[0, []]"))
    columns = min(THUMBNAIL_COLUMNS, int(len(corners) ** 0.5))
    if not columns:
        return grid.crop((0, 0, grid.width // 2, grid.height // 2))
    square = Image.new("RGB", (columns * side, columns * side))
    for place, (left, top) in enumerate(corners[: columns**2]):
        square.paste(grid.crop((left, top, left + side, top + side)), (place % columns * side, place // columns * side))
    return square


def environment(package: str = "gensweep.report") -> Environment:
    """Templates of a package, which may include the templates of this one; values are escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys([package, "gensweep.report"])])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def script_of(name: str) -> dict[str, str]:
    """The values of a template for a script of this package: its text, and its hash for the page's security policy."""
    script = files("gensweep.report").joinpath(name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": script, "script_hash": f"sha256-{digest}"}


def data_url(file: str, data: bytes) -> str:
    """A picture as a data URL."""
    return f"data:image/{file.rpartition('.')[2]};base64,{base64.b64encode(data).decode()}"


def write_whole(file: Path, content: str | bytes, hint: str) -> None:
    """Write a file atomically and create its folder.  Raises GensweepError with the hint if that fails."""
    try:
        write_bytes(file, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written ({error.strerror}); {hint}") from error
