"""Running a test on the compiled kernel or on PyTorch's operations, whatever this machine would take by itself."""

from contextlib import contextmanager
from unittest import mock

import pytest

from gensweep.kernels import active, library

PATHS = ["c++", "torch"]


def needs_kernel():
    """Skip the test, with the reason, if there is no compiled kernel."""
    if active() != "c++":
        pytest.skip(f"no compiled kernel: {library.detail()}")


@contextmanager
def running_on(path):
    """Compute on this path while the context lasts; skips the test if there is no kernel to run on."""
    if path == "c++":
        needs_kernel()
        yield
    else:
        with mock.patch.object(library, "library", return_value=None):
            yield
