import csv
import io
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import sweep, trial

from gensweep.report.comparison import compare
from gensweep.report.output import csv_text
from gensweep.report.spreadsheet import best_sheet, comparison_sheet, trials_sheet
from gensweep.tracking.records import CloneStep

PARAMS = st.dictionaries(
    st.sampled_from(["network.width", "data.classes", "seed", "gan.loss.kind", "diffusion.schedule.beta_end"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.lists(st.integers()), st.sampled_from(["a", "b; c"])),
)


def read(rows):
    """The rows that a spreadsheet would show."""
    return list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))


@settings(deadline=None, max_examples=40)
@given(st.lists(PARAMS, min_size=1, max_size=5), st.randoms())
def test_each_setting_has_one_column_that_only_trials_that_have_it_fill(found, rng):
    trials = [trial("a", number, float(number), params=params) for number, params in enumerate(found)]
    for rows in (read(comparison_sheet(compare([sweep("a", trials)]))), read(trials_sheet(sweep("a", trials)))):
        for row, params in zip(rows, found, strict=True):
            for key in {key for each in found for key in each}:
                assert (row[f"params.{key}"] != "") == (key in params)


def test_columns_are_the_same_in_whatever_order_trials_ran():
    settings = [{"x.a": 1}, {"x.b": [1, 2, 2]}, {"x.c": None, "x.a": 2}, {}]
    heads = set()
    for seed in range(6):
        random.Random(seed).shuffle(settings)
        trials = [trial("a", number, 1.0, params=params) for number, params in enumerate(settings)]
        heads.add(csv_text(comparison_sheet(compare([sweep("a", trials)]))).partition("\n")[0])
    assert len(heads) == 1


def test_costs_and_settings_of_like_names_stand_apart():
    (row,) = read(comparison_sheet(compare([sweep("a", [trial("a", 0, 1.0, params={"network.width": 64})])])))
    assert (row["cost.params"], row["params.network.width"]) == ("5", "64")


def test_lists_intervals_and_nothing_are_plain_text():
    params = {"some": [1, 2, 2], "names": ["two words", "one"], "empty": [], "nothing": None}
    (row,) = read(comparison_sheet(compare([sweep("a", [trial("a", 0, 1.0, params=params)])])))
    assert [row[f"params.{key}"] for key in params] == ["1 2 2", "two words; one", "none", "null"]
    assert row["objective.interval.low"] == row["objective.interval.high"] == ""
    assert not any(cell.startswith(("[", "{")) for cell in row.values())


def test_a_configuration_tells_nothing_from_no_such_setting():
    config = {"data": {"limit": None, "size": 32}, "network": {"attention": [], "multipliers": [1, 2]}}
    (row,) = read(best_sheet(compare([sweep("a", [trial("a", 0, 1.0)])]), config))
    assert (row["config.data.limit"], row["config.network.attention"]) == ("null", "none")
    assert (row["config.data.size"], row["config.network.multipliers"]) == ("32", "1 2")


def test_clonings_stand_apart():
    lineage = tuple(CloneStep(f"t000{number}", 100 * number, {"seed": (0, number)}) for number in (1, 2))
    (row,) = read(comparison_sheet(compare([sweep("a", [trial("a", 0, 1.0, lineage=lineage)])])))
    assert row["lineage"] == "source=t0001, images=100, changed=seed=0 1; source=t0002, images=200, changed=seed=0 2"
