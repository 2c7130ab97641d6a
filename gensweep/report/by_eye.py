"""The result of blind comparisons by eye: from the votes in the folders of sweeps to words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from markupsafe import Markup

from gensweep.errors import GensweepError
from gensweep.files import parse_json
from gensweep.report.wording import counted
from gensweep.sweep.folder import VOTES_FOLDER
from gensweep.sweep.stored_sweeps import StoredSweep
from gensweep.verdict.preference import FEW_VOTES, Ballot, Preference, preference


def preferences(sweeps: Iterable[StoredSweep]) -> dict[str, Preference]:
    """The result of each page that compares runs of these sweeps, by its id.  Raises GensweepError for a damaged file.

    Votes for both of two sweeps are in both folders.
    """
    sweeps = list(sweeps)
    names = {sweep.folder.sweep_id: sweep.name for sweep in sweeps}
    found = dict[str, dict[str, Ballot]]()
    for file in sorted(file for sweep in sweeps for file in (sweep.folder.path / VOTES_FOLDER).glob("*.json")):
        try:
            ballot = Ballot.from_dict(parse_json(file.read_bytes()))
            runs = [(names.get(sweep), trial) for sweep, _, trial in (run.partition("/") for run in ballot.runs)]
        except (ValueError, TypeError, AttributeError) as error:
            raise GensweepError(f"{file} is damaged ({error}); remove it") from None
        if all(sweep is not None for sweep, _ in runs):
            first, second = (f"{sweep}/{trial}" for sweep, trial in runs)
            found.setdefault(ballot.page, {})[ballot.voter] = replace(ballot, runs=(first, second))
    return {page: preference(list(ballots.values())) for page, ballots in found.items()}


def format_preference(found: Preference) -> str:
    """The result as a sentence: "By eye, people prefer b/t0002 to a/t0001: 78 % (64 to 89) of 40 votes by 2 people"."""
    total, people = sum(found.votes), "1 person" if found.voters == 1 else f"{found.voters} people"
    if not total:
        return f"By eye, {found.run} and {found.other} do not differ: {counted(found.ties, 'vote')} by {people}"
    low, high = found.interval
    shares = f"{100 * found.share:.0f} % ({100 * low:.0f} to {100 * high:.0f}) of {counted(total, 'vote')} by {people}"
    ties = f"; {found.ties} more saw no difference" if found.ties else ""
    if low > 0.5:
        return f"By eye, people prefer {found.run} to {found.other}: {shares}{ties}"
    return f"By eye, no side is clearly preferred: {found.run} got {shares}, against {found.other}{ties}"


def preference_warnings(found: Preference) -> Iterator[str]:
    """Reasons to doubt a result."""
    total, side = sum(found.votes), found.favoured_side
    if total < FEW_VOTES:
        yield f"only {counted(total, 'vote')} by eye; ask more people until there are {FEW_VOTES}"
    if side is not None:
        most = found.left if side == "left" else total - found.left
        yield f"the {side} side got {most} of {total} votes, whichever images it showed: do not trust them"


def preference_json(found: Preference) -> dict[str, Any]:
    """The result as `gensweep best A B --votes FILE --format json` prints it."""
    values = {"share": found.share, "interval": found.interval} if any(found.votes) else {}
    return asdict(found) | values | {"warnings": list(preference_warnings(found))}


def report_part(sweeps: Iterable[StoredSweep]) -> Markup:
    """The section of a report on the comparisons of its sweeps by eye; empty without any."""
    found = preferences(sweeps).values()
    lines = [". ".join([format_preference(each), *preference_warnings(each)]) for each in found]
    return Markup("<h2>By eye</h2>\n" if lines else "") + Markup("\n").join(map(Markup("<p>{}.</p>").format, lines))
