"""Made-up sweeps in folders of their own."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two families of which diffusion is better, a sweep with another number of samples, and one that failed whole."""
    from made_up import IDENTITY, diffusion, gan, project, write_sweep

    with project(tmp_path_factory.mktemp("store")) as folder:
        write_sweep(folder, "few-samples", diffusion, 1, seed=3, rungs=1, identity=replace(IDENTITY, samples=500))
        write_sweep(folder, "broken", gan, 1, failing=0, pictures=False)
        write_sweep(folder, "dcgan", gan, 5, seed=2, rungs=2, failing=3)
        write_sweep(folder, "ddpm", diffusion, 5, seed=1, rungs=2)
        yield folder
