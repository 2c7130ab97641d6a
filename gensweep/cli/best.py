"""`gensweep best`: the best trial of a sweep, or the verdict across sweeps."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gensweep.cli.sweep_options import price_option, root_option
from gensweep.report.output import format_option, print_facts, print_json, print_remark, print_rows, print_warnings

if TYPE_CHECKING:
    from gensweep.api.verdicts import Verdict
    from gensweep.sweep.trial_state import TrialState
    from gensweep.verdict.comparison import Comparison, RankedTrial

FILE = click.Path(path_type=Path, dir_okay=False)
#: Default file of a comparison's report.
REPORT = Path("report.html")
#: Rows of a comparison's table; JSON and CSV have every trial, the report the best 1,000.
ROWS = 20


@click.command()
@click.argument("sweeps", nargs=-1, metavar="[SWEEP]...")
@click.option("--compare", is_flag=True, help="Rank the trials of several sweeps, by default of all.")
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="With --compare: the report, one HTML file that works offline.  [default: report.html]  "
    "Without: a YAML file for the configuration of the best trial.",
)
@click.option(
    "--budget",
    metavar="AMOUNT",
    help="With --compare: budget of one training, such as 2e13flops, 10min, 8h or 60kimages.  [default: the largest "
    "that all reached]",
)
@click.option(
    "--draw",
    type=click.IntRange(1, 10**15),
    metavar="N",
    help="With --compare: the budget also pays for drawing N images.",
)
@click.option("--watch", is_flag=True, help="With --compare: rewrite the report until the sweeps end, or Ctrl-C.")
@price_option
@click.option(
    "--panel",
    is_flag=True,
    help="With --compare: also score the recommended trial and the runner-up by measures of other kinds.",
)
@click.option("--no-html", is_flag=True, help="With --compare: write no report.")
@click.option(
    "--register",
    metavar="NAME",
    help="Register the recommended trial as a model; it becomes the champion if there is none, or if it is certainly "
    "better.",
)
@click.option("--by-eye", type=FILE, help="For two runs: write a page on which people vote on unnamed images.")
@click.option("--votes", type=FILE, multiple=True, help="For two runs: add votes.json of that page; repeatable.")
@root_option
@format_option
def best(
    sweeps: tuple[str, ...],
    compare: bool,
    output: Path | None,
    budget: str | None,
    draw: int | None,
    watch: bool,
    price: str | None,
    panel: bool,
    no_html: bool,
    register: str | None,
    by_eye: Path | None,
    votes: tuple[Path, ...],
    root: Path,
    format: str,
) -> None:
    """The best score of a sweep, or with --compare the recommended trial across sweeps.

    SWEEP is a sweep's name, or the path or URL of one. The default is the newest sweep, with --compare all of them.
    Only scores that were measured in the same way are ranked against each other; the others are listed with the reason.

    If --compare is too close to call, add trials (gensweep tune --extend SWEEP --trials 8) or seeds
    (gensweep tune --repeat SWEEP).

    \b
    Examples:
      gensweep best
      gensweep best ddpm-cifar10 --format json
      gensweep best ddpm-cifar10 -o best.yaml             the configuration, for gensweep train
      gensweep best --compare
      gensweep best --compare ddpm-cifar10 dcgan-cifar10 -o verdict.html
      gensweep best --compare --watch -o live.html        while sweeps run
      gensweep best --compare --budget 2e13flops --draw 1000000
      gensweep best --compare --panel                     do other measures agree?
      gensweep best ddpm-cifar10 --register horses
      gensweep best ddpm-cifar10 dcgan-cifar10 --by-eye eye.html
      gensweep best ddpm-cifar10 dcgan-cifar10 --votes votes.json
    """
    if not compare and len(sweeps) > 1 and not (by_eye or votes):
        raise click.UsageError("To rank several sweeps, use --compare: gensweep best --compare " + " ".join(sweeps))
    if not compare and (budget is not None or draw is not None or price is not None or watch or panel or no_html):
        raise click.UsageError("--budget, --draw, --price, --watch, --panel and --no-html need --compare.")
    if (output is not None or watch) and no_html:
        raise click.UsageError("--no-html excludes --output and --watch.")
    if by_eye or votes:
        if len(sweeps) != 2 or compare or output or register or (by_eye and votes):
            raise click.UsageError("--by-eye and --votes take two runs, such as: gensweep best A B --by-eye eye.html")
        _compare_by_eye(sweeps, by_eye, votes, root, format)
        return
    from gensweep.api import live, verdicts
    from gensweep.api.mlflow_verdicts import file_reports, register_recommended
    from gensweep.tracking.sync import sync_all

    if watch:
        print_remark(f"Rewriting {output or REPORT} while sweeps run; Ctrl-C prints the verdict so far.")
        with suppress(KeyboardInterrupt):
            live.watch(*sweeps, file=output or REPORT, budget=budget, draw=draw or 0, price=price, root=root)
    if compare:
        found = verdicts.compare(*sweeps, budget=budget, draw=draw or 0, price=price, panel=panel, root=root)
        _print_comparison(found, None if no_html else output or REPORT, format)
    else:
        found = verdicts.rank(*sweeps, root=root)
        _print_best(found, output, format)
    if register is not None:
        print_remark(register_recommended(found, register))
    sync_all(root)
    if compare and not no_html:
        file_reports([sweep for sweep in found.comparison.sweeps if sweep.name == found.recommended.sweep])


def _compare_by_eye(runs: tuple[str, ...], page: Path | None, votes: tuple[Path, ...], root: Path, format: str) -> None:
    from gensweep.api.by_eye import find_pair, keep_votes, write_page
    from gensweep.report.by_eye import format_preference

    pair = find_pair(*runs, root=root)
    if page is None:
        result = keep_votes(pair, votes)
        print_rows([result._asdict()], format)
        for line in format_preference(result):
            print_remark(line)
        return
    for name in write_page(pair, page):
        print_remark(f"Note: {name} was trained without labels, so its grids have random classes.")
    names = " ".join(trial.name for trial in pair.values())
    print_remark(f"Page: {page}. When people have voted, run:", f"gensweep best {names} --votes votes.json")


def _print_best(found: Verdict, output: Path | None, format: str) -> None:
    from gensweep.config.yaml import to_yaml
    from gensweep.files import write_text
    from gensweep.report.export import best_json, front_json, front_table, trial_facts
    from gensweep.report.verdict import format_best_score
    from gensweep.sweep.stored_sweeps import trial_config

    comparison, best = found.comparison, found.comparison.best_score
    config = trial_config(best.trial)
    _warn(comparison, best.trial)
    if output is not None:
        write_text(output, to_yaml(config))
        print_remark(f"Configuration: {output}")
    if format == "table":
        print_facts(trial_facts(best, comparison.title), commands=("reproduce",))
        if front := front_table(comparison):
            click.echo()
            print_rows(front, format)
    elif format == "json":
        print_json(best_json(comparison, found.judged, config) | front_json(comparison))
    else:
        print_rows([best_json(comparison, found.judged, config)], format)
    if line := format_best_score(comparison, found.judged):
        print_remark(f"{line}.")


def _print_comparison(found: Verdict, html: Path | None, format: str) -> None:
    from gensweep.report.by_eye import format_preference, preferences
    from gensweep.report.caveats import caveats
    from gensweep.report.export import comparison_rows, entry_json, front_table
    from gensweep.report.wording import format_anchors, format_guess, format_identity

    comparison, judged = found.comparison, found.judged
    if format == "json":
        print_json(found.as_dict())
    elif format == "csv":
        print_rows([entry_json(entry) for entry in comparison.entries], format)
    else:
        print_rows(comparison_rows(comparison, judged, ROWS), format)
        if front := front_table(comparison):
            click.echo()
            print_rows(front, format)
    _print_remarks(comparison, judged.recommended, ROWS if format == "table" else len(comparison.entries))
    print_remark(f"Measured as {format_identity(comparison.score.identity)}. {format_guess(comparison.score)}".rstrip())
    if anchors := format_anchors(comparison.anchors, comparison.score.identity.samples):
        print_remark(anchors)
    print_remark(found.words)
    for preference in preferences(sweep.folder for sweep in comparison.sweeps).values():
        for line in format_preference(preference):
            print_remark(line)
    print_warnings(caveats(comparison, judged))
    if html is not None:
        found.write_html(html)
        print_remark(f"Report: {html}")


def _warn(comparison: Comparison, trial: TrialState) -> None:
    from gensweep.report.caveats import trial_warnings

    print_warnings(f"{trial.name} {warning}" for warning in trial_warnings(trial))


def _print_remarks(comparison: Comparison, recommended: RankedTrial, shown: int) -> None:
    from gensweep.config.problems import listed
    from gensweep.report.commands import left_out_reasons

    for entry in comparison.entries[:shown]:
        if entry is not recommended:  # the verdict has its warnings
            _warn(comparison, entry.trial)
    for item in left_out_reasons(comparison):
        print_remark(f"Left out: {item.sweep}: {item.reason}")
        if item.command:
            print_remark("  to make it comparable:", item.command)
    if comparison.failed:
        names = listed((trial.name for trial in comparison.failed), most=5)
        print_remark(f"Failed: {len(comparison.failed)} trials ({names}); see: gensweep trials SWEEP")
    hidden = len(comparison.entries) - shown
    if hidden > 0:
        print_remark(f"{hidden} more; for all of them, use --format csv")
