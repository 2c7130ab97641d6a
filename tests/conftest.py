"""Fixed seeds for all tests; the pure layer's shapes are checked while they run.

PyTorch has TEST_THREADS threads (1), and with TEST_AMX=0 a precision of "auto" is float32 on every processor.
"""

import os

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

PURE = ["noise", "nn", "diffusion", "gan", "data", "metrics", "families", "training"]
PURE += [f"interpret.{maths}" for maths in ("activation_maps", "intervention", "maximisation")]
PURE += [f"interpret.{maths}" for maths in ("recording", "selectivity", "trajectory")]

# Modules are instrumented as they are imported, so this comes before any test imports the package.
install_import_hook([f"gensweep.{name}" for name in PURE], "beartype.beartype")
torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))
if os.environ.get("TEST_AMX") == "0":
    torch.cpu._is_amx_tile_supported = lambda: False
# How long an example takes says more about the machine's other work than about the program.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


#: What a test needs that uses a fixture of this name.  Tests that start such things alone are marked in their files.
MARKS = {"ray_cluster": pytest.mark.ray, "store": pytest.mark.mlflow}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in MARKS.keys() & getattr(item, "fixturenames", []):
            item.add_marker(MARKS[name])
    # Files that start Ray take minutes each, so they come first: the short ones then fill up what time is left.
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Global randomness (initialisation, dropout) is the same for every test, in any order."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide as it needs to be, although readline, which a test may import, sets COLUMNS."""
    monkeypatch.delenv("COLUMNS", raising=False)
