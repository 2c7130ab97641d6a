from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gensweep.fronts import front_positions, pareto_front, volume

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


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=8))
def test_the_volume_of_a_front_is_the_number_of_cells_that_it_beats(rows):
    cells = [
        cell
        for cell in product(range(4), repeat=3)
        if any(all(a <= b for a, b in zip(row, cell, strict=True)) for row in rows)
    ]
    assert volume(rows, (4, 4, 4)) == len(cells)


def test_positions_are_those_of_fronts_and_of_the_volume_that_only_one_row_covers():
    rows = [(3, 3), (0, 40), (1, 2), (2, 1), (9, 9), (1, 2)]
    # By ranks, the front is (1, 1), (2, 0), (1, 1) and (0, 4), which cover 3, 3, 3 and 1 cells alone.
    assert front_positions(rows) == [4, 3, 0, 1, 5, 2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_no_row_comes_before_one_that_beats_it(rows):
    positions = front_positions(rows)
    assert sorted(positions) == list(range(len(rows)))
    for (one, first), (other, second) in product(zip(rows, positions, strict=True), repeat=2):
        if one != other and all(a <= b for a, b in zip(one, other, strict=True)):
            assert first < second
