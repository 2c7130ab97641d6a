"""Parse and format amounts of compute: 2e13flops, 40s, 8h, 60kimages."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gensweep.errors import ConfigError
from gensweep.results import Unit

#: Seconds per unit of time.
_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
#: Decimal prefixes of flops and images, as powers of ten.
_PREFIXES = {"E": 1e18, "P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}
#: Kind and size of each unit that a user may type.
_UNITS: dict[str, tuple[Unit, float]] = {
    **{word: ("device_seconds", seconds) for word, seconds in _SECONDS.items()},
    **{f"{prefix}flops": ("flops", size) for prefix, size in _PREFIXES.items()},
    **{f"{prefix}images": ("images", size) for prefix, size in _PREFIXES.items()},
}
_EXAMPLES = "2e13flops, 5Tflops, 40s, 10min, 8h, 2d, 60000images, 60kimages"
_AMOUNT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([A-Za-z_]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Amount:
    """An amount of compute, above 0."""

    unit: Unit
    value: float

    def __str__(self) -> str:
        """Format as a text that `parse_amount` reads, to four digits."""
        if self.unit == "flops":
            return f"{self.value:.4g}flops".replace("e+", "e")
        units = {f"{each}images": _PREFIXES[each] for each in ("M", "k", "")} if self.unit == "images" else _SECONDS
        # 90 s stay in seconds: a unit is used from two of it.
        smallest = list(units.items())[-1]
        word, multiple = next(((word, size) for word, size in units.items() if self.value >= 2 * size), smallest)
        return f"{self.value / multiple:.4g}{word}"


def parse_amount(text: str, name: str = "--budget") -> Amount:
    """Parse the amount that a user typed for the option `name`.  Raises ConfigError that lists the units."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ConfigError(f"{name}: {text!r} is not an amount of compute; give a number and a unit: {_EXAMPLES}")
    number, typed = float(match[1]), match[2]
    if not typed:
        raise ConfigError(f"{name}: {text!r} has no unit; give one, such as {match[1]}flops, {match[1]}s or 60kimages")
    found = _UNITS.get(typed[:1] + typed[1:].lower()) or _UNITS.get(typed.lower())
    if found is None:
        raise ConfigError(
            f"{name}: {text!r} has the unknown unit {typed!r}; known: flops and images, also with k, M, G, T, P "
            f"or E before them, and device time in s, min, h or d (examples: {_EXAMPLES})"
        )
    unit, value = found[0], number * found[1]
    if not 0 < value < math.inf:
        raise ConfigError(f"{name}: {text!r} is no budget; give an amount above 0: {_EXAMPLES}")
    return Amount(unit, value)


def parse_seconds(text: str, name: str) -> float:
    """Parse a time that a user typed for the option `name`.  Raises ConfigError if it is none."""
    amount = parse_amount(text, name)
    if amount.unit != "device_seconds":
        raise ConfigError(f"{name}: {text!r} is no time; give one such as 30min, 8h or 2d")
    return amount.value
