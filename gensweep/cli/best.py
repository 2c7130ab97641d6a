"""`gensweep best`: the best trial of a sweep, or the verdict across sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gensweep.cli.on_cluster import cluster_option
from gensweep.cli.sweep_options import root_option
from gensweep.report.completion import sweep_names
from gensweep.report.output import format_option, print_json, print_rows, print_warnings
from gensweep.report.terminal import print_facts, print_remark
from gensweep.rescoring.sampling_axes import parse_try, print_scores, rescore, subject_of

if TYPE_CHECKING:
    from gensweep.api.verdicts import Verdict
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.tracking.records import TrialRecord

#: Where the report of a comparison goes, unless somebody says otherwise.
REPORT = Path("report.html")


@click.command()
@click.argument("sweeps", nargs=-1, metavar="[SWEEP]...", shell_complete=sweep_names)
@click.option("--compare", is_flag=True, help="Rank the trials of several sweeps, by default of all.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --compare: where the report goes, one file that needs no network.  [default: report.html]",
)
@click.option(
    "--budget",
    metavar="AMOUNT",
    help="With --compare: what one training may spend, as 2e13flops, 10min, 8h or 60kimages.  [default: the largest "
    "that all reached]",
)
@click.option(
    "--draw",
    type=click.IntRange(1, 10**15),
    metavar="N",
    help="With --compare: the budget also pays for drawing so many images.",
)
@click.option("--no-html", is_flag=True, help="With --compare: write no report.")
@click.option(
    "--try",
    "tries",
    metavar="'NAME=VALUE,... ...'",
    help="Try settings of sampling on the best trial: sampler, steps, guidance and ema, as in gensweep evaluate.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    help="With --compare: rows of the table; JSON and CSV hold every trial, the report the best 1,000.  "
    "[default: 20]  "
    "With --try: how many of the best trials.  [default: 1]",
)
@click.option(
    "--register",
    metavar="NAME",
    help="Register the winner in MLflow's model registry; it becomes the champion if there is none, or if it is surely "
    "better than that.",
)
@cluster_option
@root_option
@format_option
def best(
    sweeps: tuple[str, ...],
    compare: bool,
    html: Path | None,
    budget: str | None,
    draw: int | None,
    no_html: bool,
    tries: str | None,
    top: int | None,
    register: str | None,
    root: Path,
    format: str,
) -> None:
    """The best trial, or with --compare the verdict across sweeps.

    SWEEP is a sweep's name or run id: without --compare by default the newest, with --compare by default all. Only
    scores that were measured in the same way are ranked against each other; what had to stay out is listed with the
    reason.

    \b
    Examples:
      gensweep best
      gensweep best ddpm-cifar10 --format json
      gensweep best ddpm-cifar10 --try "sampler=heun,dpmpp_2m steps=10,20 guidance=1,2 ema=0.25,1,4"
      gensweep best --compare
      gensweep best --compare ddpm-cifar10 dcgan-cifar10 --html verdict.html
      gensweep best --compare --budget 2e13flops --draw 1000000
      gensweep best ddpm-cifar10 --register horses
    """
    if not compare and len(sweeps) > 1:
        raise click.UsageError("Several sweeps are ranked with --compare: gensweep best --compare " + " ".join(sweeps))
    if compare and tries is not None:
        raise click.UsageError("--try belongs to the best trials of one sweep: leave --compare out.")
    if not compare and (budget is not None or draw is not None or no_html or html is not None):
        raise click.UsageError("--budget, --draw, --html and --no-html belong to a comparison: add --compare.")
    if top is not None and not compare and tries is None:
        raise click.UsageError("--top is how many of several trials: add --compare or --try.")
    axes = None if tries is None else parse_try(tries)
    from gensweep.api import verdicts

    if compare:
        found = verdicts.compare(*sweeps, budget=budget, draw=draw or 0, root=root)
        _print_comparison(found, None if no_html else html or REPORT, top or 20, format)
        _register(found, register)
        return
    ranked = verdicts.rank(*sweeps, root=root)
    if axes is not None:
        print_scores(rescore([subject_of(entry.trial) for entry in ranked.entries[: top or 1]], axes), format)
    else:
        _print_best(ranked, format)
    if register is not None:
        verdict = verdicts.compare(ranked.sweeps[0].run_id, root=root)
        if verdict.winner.name != ranked.winner.trial.name:
            print_remark(
                f"What is registered is not {ranked.winner.trial.name}, whose score is the best, but "
                f"{verdict.winner.name}, the best of the family that the verdict prefers at equal compute: "
                "gensweep best --compare says why."
            )
        _register(verdict, register)


def _register(verdict: Verdict, name: str | None) -> None:
    from gensweep.api.registration import register_winner

    if name is not None:
        print_remark(register_winner(verdict, name))


def _print_best(comparison: Comparison, format: str) -> None:
    from gensweep.report.export import best_json, front_json, trial_facts
    from gensweep.report.pareto_table import objective_table
    from gensweep.report.spreadsheet import best_sheet
    from gensweep.tracking.artifacts import trial_config

    config = trial_config(comparison.winner.trial)
    _warn(comparison, comparison.winner.trial)
    if format == "table":
        import yaml

        print_facts(trial_facts(comparison.winner, comparison.title), commands=("reproduce",))
        if front := objective_table(comparison):
            click.echo()
            print_rows(front, format)
        click.echo("\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True).rstrip())
        return
    if format == "json":
        print_json(best_json(comparison.winner, config) | front_json(comparison))
    else:
        print_rows(best_sheet(comparison, config), format)


def _print_comparison(found: Verdict, html: Path | None, top: int, format: str) -> None:
    from gensweep.report.export import comparison_rows
    from gensweep.report.pareto_table import objective_table, pareto_table
    from gensweep.report.rungs import rung_words
    from gensweep.report.spreadsheet import comparison_sheet
    from gensweep.report.wording import anchor_words, guess_words, identity_words

    comparison, judged = found.comparison, found.judged
    if format == "json":
        print_json(found.as_dict())
    elif format == "csv":
        print_rows(comparison_sheet(comparison), format)
    else:
        print_rows(comparison_rows(comparison, judged, top), format)
        for front in (objective_table(comparison), pareto_table(comparison, judged)):
            if front:
                click.echo()
                print_rows(front, format)
    _print_remarks(comparison, judged.winner, top if format == "table" else len(comparison.entries))
    print_remark(f"Measured as {identity_words(comparison.score.identity)}. {guess_words(comparison.score)}".rstrip())
    if beside := anchor_words(comparison.anchors, comparison.score.identity.samples):
        print_remark(beside)
    for line in rung_words(comparison.rungs):
        print_remark(f"Rungs of {line}.")
    print_remark(found.words)
    print_warnings(judged.warnings)
    if html is not None:
        from gensweep.api.filed_reports import file_reports

        found.write_html(html)
        print_remark(f"Report: {html}")
        file_reports([sweep for sweep in comparison.sweeps if sweep.name == found.winner.sweep])


def _warn(comparison: Comparison, trial: TrialRecord) -> None:
    from gensweep.report.collapse import trial_warnings

    print_warnings(f"{comparison.name_of(trial)} {warning}" for warning in trial_warnings(trial))


def _print_remarks(comparison: Comparison, winner: RankedTrial, shown: int) -> None:
    for entry in comparison.entries[:shown]:
        if entry is not winner:  # whose warnings are those of the verdict
            _warn(comparison, entry.trial)
    for item in comparison.not_comparable:
        print_remark(f"Left out: {item.sweep}: {item.reason}")
        if item.command:
            print_remark("  to make it alike:", item.command)
    if comparison.failed:
        names = [*map(comparison.name_of, comparison.failed[:5]), *["..."] * (len(comparison.failed) > 5)]
        print_remark(f"Failed: {len(comparison.failed)} trials ({', '.join(names)}); see: gensweep trials SWEEP")
    hidden = len(comparison.entries) - shown
    if hidden > 0:
        print_remark(f"{hidden} more; --top {len(comparison.entries)} shows all")
