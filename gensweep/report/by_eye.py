"""Results of blind comparisons by eye, from the votes in the folders of sweeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from markupsafe import Markup

from gensweep.errors import GensweepError
from gensweep.files import parse_json
from gensweep.report.wording import counted
from gensweep.sweep.folder import VOTES_FOLDER, SweepFolder
from gensweep.verdict.preference import Ballot, Preference, preference

#: Fewer votes are few: the sign test finds a preference of 75 % in 30 votes with a probability of 80 %.
FEW_VOTES = 30


def preferences(folders: Iterable[SweepFolder]) -> dict[str, Preference]:
    """The result of each page on runs of these sweeps alone, by the page's id.  Raises GensweepError for damaged votes.

    A run in a file is ID/TRIAL, with the sweep's id.  Votes between two sweeps are in both folders.
    """
    places = {str(folder.sweep_id): folder for folder in folders}
    found = dict[str, dict[str, Ballot]]()
    for file in sorted(file for folder in places.values() for file in (folder.path / VOTES_FOLDER).glob("*.json")):
        try:
            ballot = Ballot.from_dict(parse_json(file.read_bytes()))
            (sweep, trial), (another, opponent) = (run.split("/") for run in ballot.runs)
        except (ValueError, TypeError, AttributeError) as error:
            raise GensweepError(f"{file} is damaged ({error}); remove it") from None
        if {sweep, another} <= places.keys():
            runs = f"{places[sweep].name}/{trial}", f"{places[another].name}/{opponent}"
            found.setdefault(ballot.page, {})[ballot.voter] = replace(ballot, runs=runs)
    return {page: preference([*ballots.values()]) for page, ballots in found.items()}


def format_preference(found: Preference) -> list[str]:
    """A sentence, such as "By eye, people prefer b/t0002 to a/t0001: 78 % (64 to 89) of 40 votes.", and warnings."""
    people = "1 person" if found.voters == 1 else f"{found.voters} people"
    ties = f"{counted(found.ties, 'vote')} for neither side"
    if found.share is None or found.low is None or found.high is None:
        return [f"By eye, {found.preferred} and {found.other} look alike: only {ties}, from {people}."]
    percent = f"{100 * found.share:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
    votes = f"{percent} of {counted(found.votes, 'vote')} from {people}{f', leaving out {ties}' if found.ties else ''}."
    unclear = f"By eye, {found.preferred} and {found.other} are too close to call: the first gets {votes}"
    lines = [f"By eye, people prefer {found.preferred} to {found.other}: {votes}" if found.low > 0.5 else unclear]
    if found.votes < FEW_VOTES:
        lines.append(f"Warning: {counted(found.votes, 'vote')} by eye are few; collect at least {FEW_VOTES}.")
    if found.favoured_side is not None:
        lines.append(f"Warning: the {found.favoured_side} side got more votes than chance explains; ask other people.")
    return lines


def report_part(folders: Iterable[SweepFolder]) -> Markup:
    """The section of a report about the comparisons of its sweeps by eye; empty without any."""
    lines = [Markup("<p>{}</p>").format(" ".join(format_preference(each))) for each in preferences(folders).values()]
    return Markup("\n").join([Markup("<h2>By eye</h2>"), *lines] if lines else [])
