"""One thread and fixed seeds for all tests; the pure layer's shapes are checked while they run."""

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

PURE = ["noise", "nn", "diffusion", "gan", "data", "metrics", "families", "training", "interpret"]

# Modules are instrumented as they are imported, so this comes before any test imports the package.
install_import_hook([f"gensweep.{room}" for room in PURE], "beartype.beartype")
torch.set_num_threads(1)
# How long an example takes says more about the machine's other work than about the program.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def seed() -> None:
    """Global randomness (initialisation, dropout) is the same for every test, in any order."""
    torch.manual_seed(0)
