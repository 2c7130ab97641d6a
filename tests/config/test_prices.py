"""Prices of an hour of a device."""

import pytest

from gensweep.config import load_sweep
from gensweep.config.prices import parse_price
from gensweep.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "hour", "cost"),
    [
        ("2.50/h", "2.50/h", "0.62"),
        ("2.50EUR/h", "2.50 EUR/h", "0.62 EUR"),
        (" 2.5 EUR / h ", "2.50 EUR/h", "0.62 EUR"),
        ("$12000/h", "12,000.00 $/h", "3,000.00 $"),
        ("0.003/h", "0.003/h", "0.00075"),
        ("0/h", "0.00/h", "0.00"),
    ],
)
def test_a_price_is_read_and_applied(text, hour, cost):
    price = parse_price(text)
    assert str(price) == hour
    assert price.format_money(price.of(900.0)) == cost


@pytest.mark.parametrize("text", ["", "2.50", "2.50/day", "-1/h", "nan/h", "$2.50EUR/h", "2,50/h", "1e3/h"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(ValueError, match=r"such as 2\.50/h or 2\.50EUR/h"):
        parse_price(text)
    with pytest.raises(ConfigError, match=r"resources\.price: .*such as 2\.50/h"):
        load_sweep({"name": "a", "base": {"family": {"kind": "gan"}}, "resources": {"price": text}})
