"""A search space checked before anything runs: its extreme trials are built as real trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from gensweep.config.problems import Problem
from gensweep.config.ranges import Choices, Corner, Fork, Node, Range, pickers, walk
from gensweep.config.tree import Tree, override_all
from gensweep.config.trial import TrialConfig, check_trial

__all__ = ["check_corners"]

Check = Callable[[Tree, TrialConfig], Iterable[Problem]]


def check_corners(
    base: Tree,
    nodes: Sequence[Node],
    check: Check,
    default_place: str,
) -> list[Problem]:
    """The problems of the trials at the corners, and beside them; `check` adds what is wrong with a valid trial.

    A problem that is not in every corner says in which branches it is.
    """
    found: list[Problem] = []
    for pick in (pickers, _beside):
        known = {(problem.place, problem.key) for problem in found}
        more = _problems(base, list(pick(nodes)), nodes, check, default_place)
        found += [problem for problem in more if (problem.place, problem.key) not in known]
    return found


def _problems(
    base: Tree, corners: Sequence[Corner], nodes: Sequence[Node], check: Check, default_place: str
) -> list[Problem]:
    seen: dict[Problem, list[set[str]]] = {}
    for picker in corners:
        met = list(walk(nodes, picker))
        branches = {f"{node.name.partition('@')[0]} = {branch.label}" for node, branch in met if isinstance(node, Fork)}
        overrides = {node.key: value for node, value in met if not isinstance(node, Fork)}
        corner = override_all(base, overrides, {node.key: node.place for node, _ in met})
        trial, problems = check_trial(corner, default_place)
        for problem in problems if trial is None else check(corner, trial):
            seen.setdefault(problem, []).append(branches)
    problems = []
    for problem, occurrences in seen.items():
        common = sorted(each for each in set.intersection(*occurrences) if not _says(problem.key, each))
        where = f" [where {', '.join(common)}]" if common and len(occurrences) < len(corners) else ""
        problems.append(Problem(problem.place, problem.key, problem.message + where + _hint(problem, nodes)))
    return problems


def _beside(nodes: Sequence[Node]) -> Iterator[Corner]:
    """From each corner, every single range at its other end and next to its low end, and every other choice.

    One range apart finds two ranges that must not cross; the step beside the end finds numbers that only a step or a
    choice can keep to, such as multiples.
    """
    for picker in pickers(nodes):
        for node, taken in list(walk(nodes, Corner(picker.script, high=picker.high))):
            others: list[float] = []
            if isinstance(node, Range):
                others = [node.low if picker.high else node.high]
                if node.integer:
                    others.append(min(node.low + (node.step or 1), node.high))
            elif isinstance(node, Choices):
                others = [position for position, value in enumerate(node.values) if value is not taken]
            for other in others:
                if other != taken or isinstance(node, Choices):
                    yield Corner(picker.script, high=picker.high, forced=(node, other))


def _says(key: str, branch: str) -> bool:
    """Whether a problem's key is inside of the choice that a branch belongs to, so that its line shows the branch."""
    return key.startswith(branch.partition(" = ")[0].removesuffix(".kind"))


def _hint(problem: Problem, nodes: Sequence[Node]) -> str:
    """What helps if a number is wrong that lies inside of a range."""
    for picker in pickers(nodes):
        for node, _ in walk(nodes, picker):
            if isinstance(node, Range) and node.integer and (node.key, node.place) == (problem.key, problem.place):
                beside = node.low + (node.step or 1)
                if node.low < beside < node.high and problem.message.startswith(f"{beside} "):
                    return "; give the range a step, or list the values in a choice"
    return ""
