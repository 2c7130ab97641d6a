"""A training whose networks are compiled is the one whose networks are not, but for rounding."""

import compiled_steps
import pytest
import torch

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of two processes, each with half of the cases."""
    folder = tmp_path_factory.mktemp("compiled")
    torch.multiprocessing.start_processes(
        compiled_steps.worker, args=(str(folder),), nprocs=2, start_method="forkserver"
    )
    one, other = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    return one | other


def agree(one, other):
    assert one[0] == [pytest.approx(losses, rel=1e-4, abs=1e-6) for losses in other[0]]
    assert one[1].keys() == other[1].keys()  # checkpoints have the names of the networks themselves
    for name, tensor in one[1].items():
        torch.testing.assert_close(tensor, other[1][name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("case", compiled_steps.CASES)
def test_compiled_networks_are_one_graph_and_have_equal_losses(case, results):
    plain, compiled, graph_breaks = results[case]
    agree(compiled, plain)
    assert not graph_breaks


def test_a_compiled_training_goes_on_as_if_it_had_not_stopped(results):
    assert results["resumed"][0] == results["gan"][1][0]
    for name, tensor in results["gan"][1][1].items():
        assert torch.equal(tensor, results["resumed"][1][name]), name


def test_two_compiled_workers_train_like_one(results):
    agree(results["two"], results["cnn"][1])
