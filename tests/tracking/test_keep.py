import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.tracking.keep import Keeper

values = st.one_of(st.none(), st.just(math.nan), st.floats(-1e6, 1e6))


@settings(deadline=None, max_examples=40)
@given(st.lists(values, max_size=12), st.integers(0, 4), st.sampled_from(["min", "max"]), st.integers(0, 12))
def test_the_kept_checkpoints_are_always_those_of_the_best_trials(tmp_path_factory, results, keep, mode, restart):
    file = tmp_path_factory.mktemp("keep") / "best.json"
    keeper, kept, valid = Keeper(file, keep, mode), set(), []
    for index, value in enumerate(results):
        if index == restart:
            keeper = Keeper(file, keep, mode)
        change = keeper.ended(f"t{index:04d}", value, Path(f"/c/{index}"))
        kept = (kept - set(change.drop)) | {name for name, _ in change.keep}
        if value is not None and math.isfinite(value):
            valid.append((value if mode == "min" else -value, f"t{index:04d}"))
        ranking = [name for _, name in sorted(valid)]
        assert kept == set(ranking[:keep])
        assert change.best == (ranking[0] if ranking else None)


@pytest.mark.parametrize("folder", [None, Path("/c/1")])
def test_a_better_checkpoint_of_the_same_trial_replaces_the_former(tmp_path, folder):
    keeper = Keeper(tmp_path / "best.json", 1, "min")
    keeper.ended("t0", 5.0, Path("/c/0"))
    change = keeper.ended("t0", 4.0, folder)
    assert change.drop == ("t0",)
    assert change.keep == (() if folder is None else (("t0", "/c/1"),))
