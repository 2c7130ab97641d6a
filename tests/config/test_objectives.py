"""What a sweep searches for, and within which limits."""

import pytest
from demo_sweeps import BASE
from hypothesis import given
from hypothesis import strategies as st

from gensweep.config import checked_sweep
from gensweep.config.objectives import Constraint

FRONT = BASE + "objective:\n- {metric: fd}\n- {metric: sample_flops}\nsearch: {scheduler: {kind: fifo}}\n"


def test_one_objective_is_written_without_a_list_and_several_with_one(load):
    one, two = load(BASE + "objective: {metric: fd}\n"), load(FRONT)
    assert one.as_dict()["objective"] == {"metric": "fd", "mode": "min"}
    assert [each["metric"] for each in two.as_dict()["objective"]] == ["fd", "sample_flops"]
    assert (one.score, one) == (two.score, load(BASE))
    for sweep in (one, two, load(FRONT, "constraints=[{metric: params, max: 2000000}]")):
        assert checked_sweep(sweep.as_dict()) == sweep


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["objective=[]"], "takes one objective or more, such as {metric: fd}"),
        (["objective=fd"], "'fd' is not a mapping of settings; write it like {metric: ...}"),
        (["objective=[{metric: fd}, {metric: sample_flop}]"], "objective[1].metric: 'sample_flop' is not a"),
        (["objective=[{metric: fd}, {metric: precision, mode: max}]"], "objective[1].metric: 'precision' is not"),
        (["objective=[{metric: fd}, {metric: params, mode: max}]"], "objective[1].mode: 'max' would look for"),
        (["objective=[{metric: params}, {metric: fd}]"], "objective[0].metric: 'params' is a cost, but the"),
        (["objective=[{metric: fd}, {metric: fd}]"], "objective[1].metric: 'fd' is listed twice; remove one"),
        (["search.scheduler.kind=median"], "search.scheduler: median compares trials by one score, but there are 2"),
        (["constraints=[{metric: params}]"], "constraints[0]: takes min or max; write it like"),
        (["constraints=[{metric: fd, min: 3, max: 1}]"], "takes min <= max, but got min=3, max=1"),
        (["constraints={metric: params, max: 1}"], "is not a list of limits such as {metric: params, max: 2.0e+6}"),
        (["constraints=[{metric: recall, min: 0.3}]"], "constraints[0].metric: 'recall' is not evaluated; add it to"),
    ],
    ids=lambda value: value[0].replace("objective=", "") if isinstance(value, list) else "",
)
def test_what_cannot_be_searched_for_is_refused_in_one_line(refused, overrides, problem):
    (line,) = refused(FRONT, *overrides)
    assert problem in line


numbers = st.floats(-1e6, 1e6)


@given(st.one_of(st.none(), numbers), st.one_of(st.none(), numbers), numbers)
def test_a_limit_is_exceeded_exactly_outside_and_the_more_the_further(low, high, value):
    if (low, high) == (None, None) or (None not in (low, high) and low > high):
        return
    limit = Constraint(metric="fd", min=low, max=high)
    inside = (low is None or value >= low) and (high is None or value <= high)
    assert (limit.excess(value) <= 0) == inside
    if not inside:
        further = 2 * value if high is None or value <= high else value + 1.0
        further = value - 1.0 if low is not None and value < low else further
        assert limit.excess(further) > limit.excess(value)
        assert ("more" in limit.format_violation(value)) == (high is not None and value > high)
