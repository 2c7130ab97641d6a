import pytest


@pytest.fixture
def history():
    """Makes trials with their evaluations."""
    from histories import History

    return History()
