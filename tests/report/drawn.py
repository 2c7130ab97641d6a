"""What a figure shows: the marks of its SVG that say something, and where they are."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass


@dataclass
class Mark:
    """A mark of the data: what it says, where it leads, its points in the figure (y grows downwards), its style."""

    words: str
    link: str | None
    points: list[tuple[float, float]]
    style: dict[str, str]

    @property
    def x(self):
        return self.points[0][0]

    @property
    def height(self):
        return -self.points[0][1]


def look_of(svgs, look="broad"):
    """The SVG for one width of the page."""
    whole = ET.fromstring(f"<both>{svgs}</both>")
    return next(svg for svg in whole if svg.get("class") == f"figure {look}")


def texts(svgs, look="broad"):
    return [element.text for element in look_of(svgs, look).iter("text")]


def spoken(svgs, look="broad"):
    """The marks of which something is said."""
    return [mark for mark in marks(svgs, look) if mark.words]


def marks(svgs, look="broad"):
    """All marks in the plot that have a colour of a series or of the text."""
    root, found = look_of(svgs, look), []
    links = {child: each.get("href") for each in root.iter("a") for child in each.iter()}
    for element in root.iter():
        colour = element.get("stroke", element.get("fill", ""))
        if element.tag not in ("path", "line") or not re.fullmatch(r"var\(--(c\d|ink)\)", colour):
            continue
        title = element.find("title")
        words = "" if title is None else title.text
        move = re.findall(r"translate\(([-\d.e]+),([-\d.e]+)\)", element.get("transform", ""))
        path = [*move, *re.findall(r"[ML]([-\d.e]+),([-\d.e]+)", element.get("d", ""))]
        points = [(float(x), float(y)) for x, y in (move or path)]
        found.append(Mark(words, links.get(element), points, dict(element.attrib)))
    return found
