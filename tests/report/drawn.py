"""What a figure shows: the marks of its SVG that say something, and where they are."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass


@dataclass
class Mark:
    """A mark of the data: what it says, its points in the figure (y grows downwards), its style."""

    words: str
    points: list[tuple[float, float]]
    style: dict[str, str]

    @property
    def x(self):
        return self.points[0][0]

    @property
    def height(self):
        return -self.points[0][1]


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("text")]


def spoken(svg):
    """The marks of which something is said."""
    return [mark for mark in marks(svg) if mark.words]


def marks(svg):
    """All marks that have a colour of a series or of the text."""
    found = []
    for element in ET.fromstring(svg).iter():
        style = element.attrib
        colour = style.get("stroke", style.get("fill", ""))
        if element.tag == "text" or not re.fullmatch(r"var\(--(c\d|ink)\)", colour):
            continue
        title = element.find("title")
        places = re.findall(r"translate\(([-\d.e]+),([-\d.e]+)\)", style.get("transform", ""))
        places = places or re.findall(r"[ML]([-\d.e]+),([-\d.e]+)", style.get("d", ""))
        x, y = (next((style[name] for name in (f"c{axis}", f"{axis}1", axis) if name in style), None) for axis in "xy")
        points = [(float(a), float(b)) for a, b in places or [(x, y)]]
        found.append(Mark("" if title is None else title.text, points, dict(style)))
    return found
