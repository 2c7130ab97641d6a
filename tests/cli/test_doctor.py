"""What `gensweep doctor` says of the fastest precision; the rest of it is in test_docs and test_selftest."""

import pytest

from gensweep.cli.doctor import _precision


@pytest.mark.trains
def test_the_doctor_says_in_which_precision_a_network_trains_and_draws():
    training, sampling = _precision()
    assert training.status == sampling.status == "ok"
    assert training.detail.startswith("a U-Net trains in ")
    assert training.detail.count("channels_last") == training.detail.count("contiguous") == 2
    assert sampling.detail.startswith("a U-Net draws samples in ")
