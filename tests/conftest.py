"""Fixed seeds for all tests; the pure layer's shapes are checked while they run.

PyTorch has TEST_THREADS threads (1), and with TEST_AMX=0 a precision of "auto" is float32 on every processor.
"""

import gc
import multiprocessing
import os
from collections.abc import Iterator

# Idle threads of a numerical library spin, and those of processes side by side then take each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("TEST_THREADS", "1"))

import hypothesis
import pytest
import torch
from ray_fixtures import no_leak, ray_cluster  # noqa: F401  # here, so that a process starts one Ray for all folders
from shape_checks import check_shapes

PURE = ["noise", "nn", "diffusion", "gan", "vae", "data", "metrics", "families", "training", "extras.interpret"]

# Modules are changed as they are imported, so this comes before any test imports the package.
check_shapes([f"gensweep.{name}" for name in PURE])
torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))
if os.environ.get("TEST_AMX") == "0":
    torch.cpu._is_amx_tile_supported = lambda: False
# Processes that tests start by "forkserver" begin with what has been imported once.
multiprocessing.set_forkserver_preload(["gensweep.training.trial"])
# How long an example takes says more about the machine's other work than about the program.
hypothesis.settings.register_profile("random", deadline=None)
# Whether a commit passes is no matter of luck; `make test-random` looks for examples that nobody has thought of.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fixed")


#: What a test needs that uses a fixture of this name.  Tests that start such things alone are marked in their files.
MARKS = {
    "ray_cluster": pytest.mark.ray,
    "store": pytest.mark.mlflow,
    "mlflow_server": pytest.mark.mlflow,
    "s3": pytest.mark.waits,
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported for the tests lives as long as the process, and is not looked through for garbage."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in MARKS.keys() & getattr(item, "fixturenames", []):
            item.add_marker(MARKS[name])
    # Files that start Ray take minutes each, and those of sweeps wait for much, so they come first: the short ones then
    # fill up what time is left.
    items.sort(key=lambda item: (item.get_closest_marker("ray") is None, item.path.parent.name != "run"))


@pytest.fixture(autouse=True)
def seed() -> None:
    """Global randomness (initialisation, dropout) is the same for every test, in any order."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed takes a millisecond for GPUs


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide as it needs to be, although readline, which a test may import, sets COLUMNS."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No sweep of these tests waits for cores that another one uses, be it of a test that runs beside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENSWEEP_CLAIMS", str(tmp_path_factory.mktemp("runtime")))
        yield


@pytest.fixture(scope="session")
def object_store():
    """An S3 for the whole session; tests use `s3`."""
    from object_store import ObjectStore

    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture
def s3(object_store, monkeypatch):
    """An S3 that answers as it should; see ObjectStore for how to trouble it.  Pauses before attempts are short."""
    from object_store import ENVIRONMENT

    from gensweep import remote_folder

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_folder, "FIRST_PAUSE", 0.05)
    object_store.make_bucket()
    object_store.requests.clear()
    yield object_store
    object_store.trouble = None
