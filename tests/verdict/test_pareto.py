from hypothesis import given
from hypothesis import strategies as st

from gensweep.verdict.pareto import pareto_front

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4))), max_size=8)


def test_rows_that_another_beats_are_not_on_the_front():
    assert pareto_front([(1, 5), (2, 2), (5, 1), (3, 3), (2, 2)]) == [True, True, True, False, True]


def test_what_is_unknown_beats_nothing():
    assert pareto_front([(1, None), (2, 5), (2, None)]) == [True, True, False]


@given(ROWS)
def test_the_best_of_each_column_is_on_the_front(rows):
    front = pareto_front(rows)
    assert any(front) == bool(rows)
    for column in (0, 1):
        for lowest in {min((row[column] for row in rows), default=None)} - {None}:
            assert any(on and row[column] == lowest for row, on in zip(rows, front, strict=True))
