import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.errors import ConfigError
from gensweep.verdict.amounts import Amount, parse_amount


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2e13flops", "flops", 2e13),
        ("5 TFLOPs", "flops", 5e12),
        ("1.5Gflops", "flops", 1.5e9),
        ("40s", "device_seconds", 40),
        ("10min", "device_seconds", 600),
        (" 8 h ", "device_seconds", 28_800),
        ("2d", "device_seconds", 172_800),
        ("60kimages", "images", 60_000),
        ("60000images", "images", 60_000),
    ],
)
def test_amounts_are_read_as_they_are_typed(text, unit, value):
    assert parse_amount(text) == Amount(unit, value)


@given(
    st.builds(Amount, st.sampled_from(["flops", "device_seconds", "images"]), st.floats(1e-3, 1e25)),
)
def test_what_is_printed_is_read_back_to_four_digits(amount):
    again = parse_amount(str(amount))
    assert again.unit == amount.unit
    assert again.value == pytest.approx(amount.value, rel=5e-4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an amount"),
        ("much", "not an amount"),
        ("2e13", "no unit"),
        ("0flops", "is no budget"),
        ("-3h", "is no budget"),
        ("1e999s", "is no budget"),
        ("3weeks", "'weeks'"),
        ("3mflops", "'mflops'"),
    ],
)
def test_what_is_no_amount_is_refused_with_what_is_allowed(text, words):
    with pytest.raises(ConfigError) as error:
        parse_amount(text, "--budget")
    assert str(error.value).startswith("--budget: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
