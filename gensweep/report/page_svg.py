"""SVG that Vega drew, made a part of the page: its font and ids, and what screen readers and the pointer find in it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

#: Between the lines of what is said of a mark: Vega puts them into an attribute, which would lose a line feed.
LINE_BREAK = "\u2028"

#: What XML cannot hold, and what would be read as our own line break.
_NOT_PRINTABLE = re.compile("[^\t\n\r\u0020-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
#: Attributes that the page sets, or that nobody reads: the page has its own font, classes and sizes.
_DROPPED = ("font-family", "aria-roledescription", "class")
#: Paths of frames that are not drawn.
_NOTHING = ("", "M0,0h0v0h0Z")


def printable(text: str) -> str:
    """Text that XML can hold, on one line; anything else becomes a question mark."""
    return _NOT_PRINTABLE.sub("?", text)


def page_svg(svg: str, name: str, look: str, title: str, description: str) -> str:
    """The `<svg>` element for a page that shows figures of this `look`; `name` begins its ids.

    Each mark of which something is said holds it as a `<title>`, which browsers show under the pointer even where
    scripts are off.
    """
    root = ET.fromstring(svg)
    _tidy(root, name)
    width = root.attrib.pop("width")
    for attribute in ("height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": f"figure {look}", "style": f"--natural: {width}px", "role": "graphics-document"}
    root.attrib |= {"aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-description"}
    # Within <defs> they are no tooltip of the whole figure.
    words = ET.Element("defs")
    ET.SubElement(words, "title", {"id": f"{name}-title"}).text = printable(title)
    ET.SubElement(words, "desc", {"id": f"{name}-description"}).text = printable(description)
    root.insert(0, words)
    return ET.tostring(root, encoding="unicode")


def _tidy(element: ET.Element, name: str) -> None:
    """Plain names, ids of this figure, no frames that are not seen; marks that are spoken of get a title."""
    element.tag = element.tag.rpartition("}")[2]
    kind, label = element.get("aria-roledescription", ""), element.get("aria-label")
    found = {key: value for key, value in element.attrib.items() if key not in _DROPPED}
    element.attrib.clear()
    element.attrib |= {key: value.replace("url(#", f"url(#{name}-") for key, value in found.items()}
    if (link := element.attrib.pop(_XLINK_HREF, None)) is not None:
        # The tables have the same links, so the keyboard need not visit every mark.
        element.attrib |= {"href": link, "tabindex": "-1"}
    if "id" in element.attrib:
        element.attrib["id"] = f"{name}-{element.attrib['id']}"
    for child in list(element):
        _tidy(child, name)
        if child.tag == "path" and child.get("d", "") in _NOTHING:
            element.remove(child)
    if kind.endswith("container"):
        element.attrib.pop("role", None)
    elif label is not None and kind not in ("axis", "legend", "title"):
        del element.attrib["aria-label"]
        ET.SubElement(element, "title").text = label.replace(LINE_BREAK, "\n")
