"""Prices of compute: 2.50/h, 2.50EUR/h or $2.50/h, for one device."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PRICE = re.compile(r"([$€£¥]?) ?(\d+\.?\d*|\.\d+) ?([A-Z]{3}|[$€£¥]|) ?/ ?h")


@dataclass(frozen=True)
class Price:
    """The price of one device for an hour; the currency may be unknown, ""."""

    per_hour: float
    currency: str

    def __str__(self) -> str:
        return f"{self.format_money(self.per_hour)}/h"

    def of(self, device_seconds: float) -> float:
        """The price of some device time."""
        return self.per_hour * device_seconds / 3600

    def format_money(self, amount: float) -> str:
        """Format an amount of money in its currency: "12.30 EUR", "0.0042"."""
        digits = f"{amount:,.2f}" if amount == 0 or amount >= 0.01 else f"{amount:.2g}"
        return f"{digits} {self.currency}".rstrip()


def parse_price(text: str) -> Price:
    """Parse a price.  Raises ValueError if it is invalid."""
    match = _PRICE.fullmatch(text.strip())
    if match is None or (match[1] and match[3]):
        raise ValueError(f"takes a price for an hour of one device, such as 2.50/h or 2.50EUR/h, but got {text!r}")
    return Price(float(match[2]), match[1] or match[3])
