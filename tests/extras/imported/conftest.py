"""A sweep that imported images are scored beside."""

import pytest
from scored_digits import COUNT, real_digits, write


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep `tiny` of one trained trial."""
    import untrained
    from logged import LoggedSweep
    from made_up import project

    from gensweep.sweep.events import Evaluated

    with project(tmp_path_factory.mktemp("store")) as folder:
        trial = untrained.config("gan", evaluation__samples=COUNT)
        sweep = LoggedSweep(folder / "sweeps", "tiny")
        evaluation, made = untrained.train(trial, sweep.folder.path / "checkpoints").checkpoints[-1]
        sweep.start("t0000", {}, trial.as_dict())
        sweep.add(Evaluated("t0000", evaluation, sweep.store("t0000", evaluation.images, made)))
        sweep.end("t0000")
        sweep.close()
        write(folder / "real", real_digits()[:COUNT])
        yield folder
