"""What a figure of the report shows, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: The smallest ratio of the largest to the smallest value that gets a logarithmic axis unless one is asked for.
MIN_LOG_RATIO = 12
#: A logarithmic axis over more than this could not be labelled.
MAX_LOG_RATIO = 1e30
#: Nor one that begins below this: less than the smallest number that is held in full may round to 0.
MIN_LOG_VALUE = 1e-300


@dataclass(frozen=True)
class Axis:
    """What an axis counts; `log` is decided by its values if it is None; `whole` numbers have nothing between them.

    With `names` it has these at 0, 1, 2, ... instead of numbers.
    """

    title: str
    log: bool | None = None
    whole: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """What is said of something that is drawn when the pointer is on it, line by line, and where it leads."""

    lines: tuple[str, ...] = ()
    link: str | None = None


@dataclass(frozen=True)
class Line:
    """Points joined by a line in a colour of the page; faint ones stand back, a step holds its value until the next."""

    colour: int
    points: Sequence[tuple[float, float]]
    note: Note = Note()
    faint: bool = False
    dashed: bool = False
    step: bool = False


@dataclass(frozen=True)
class Dot:
    """A point in a colour of the page: hollow if there is something less to it, with a ring if it is the winner."""

    colour: int
    x: float
    y: float
    note: Note = Note()
    hollow: bool = False
    ringed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Band:
    """An interval, (x, low, high), around a line of the same colour."""

    colour: int
    points: Sequence[tuple[float, float, float]]
    step: bool = False


@dataclass(frozen=True)
class Level:
    """A height with a name, such as the score of real images, and its interval if it has one."""

    name: str
    y: float
    note: Note = Note()
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Crossing:
    """A place on the horizontal axis with words on its left and right, and its interval; faint ones are dotted."""

    below: str
    above: str
    x: float
    interval: tuple[float, float]
    note: Note = Note()
    faint: bool = False


@dataclass(frozen=True)
class SharedNote:
    """What is said of all lines together while the pointer is nearest to a place on the horizontal axis."""

    x: float
    note: Note


@dataclass(frozen=True)
class Panel:
    """One coordinate system.  `alike` are heights that another panel shows, so that both have one scale."""

    x: Axis
    y: Axis
    title: str = ""
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    crossings: Sequence[Crossing] = ()
    readings: Sequence[SharedNote] = ()
    alike: Sequence[float] = ()

    def widths(self) -> Iterator[float]:
        """Everything that must have its place on the horizontal axis."""
        yield from (x for line in self.lines for x, _ in line.points)
        yield from (dot.x for dot in self.dots)
        yield from (x for band in self.bands for x, _, _ in band.points)

    def heights(self) -> Iterator[float]:
        """Everything that must have its place on the vertical axis; bands may be cut off."""
        yield from (y for line in self.lines for _, y in line.points)
        yield from (dot.y for dot in self.dots)
        yield from (level.y for level in self.levels)
        yield from self.alike


@dataclass(frozen=True)
class Bar:
    """A named share of 1, and its interval if it has one."""

    name: str
    share: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bars:
    """Shares in one colour of the page, below each other."""

    colour: int
    bars: Sequence[Bar]
    title: str = ""


@dataclass(frozen=True)
class FigureData:
    """A figure before it is drawn: a headline, a caption, and its panels, of which there may be none."""

    name: str
    caption: str
    panels: Sequence[Panel | Bars]


def is_logarithmic(axis: Axis, values: Sequence[float]) -> bool:
    """Whether an axis of these values is logarithmic: as it is asked for, where it can be."""
    if not values or min(values) <= max(max(values) / MAX_LOG_RATIO, MIN_LOG_VALUE) or min(values) == max(values):
        return False
    return max(values) >= MIN_LOG_RATIO * min(values) if axis.log is None else axis.log
