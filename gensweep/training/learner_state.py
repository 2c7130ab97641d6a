"""A learner's state as flat, named tensors, and back.

Names are `networks/NETWORK/PARAMETER`, `ema/NETWORK/PARAMETER`, `ema@FACTOR/NETWORK/PARAMETER` for further averages,
`memories/MEMORY/BUFFER` and `optimizers/NETWORK/PARAMETER/QUANTITY`.  With the seed and the position these are all that
a training is made of, so one that goes on from them equals one that never stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from gensweep.errors import GensweepError
from gensweep.training.ema import MAIN_AVERAGE
from gensweep.training.loop import Learner, LossSums

#: The name of the weights of the last training step, beside the names of averages.
RAW_WEIGHTS = "raw"


def state_of(learner: Learner) -> dict[str, Tensor]:
    """Every tensor of networks, averaged weights and optimizers; they share memory with the learner's."""
    state = {
        prefix + key: tensor
        for prefix, module in _modules(learner).items()
        for key, tensor in module.state_dict().items()
    }
    for name, optimizer in learner.optimizers.items():
        for key, parameter in learner.family.networks[name].named_parameters():
            for quantity, tensor in optimizer.state.get(parameter, {}).items():
                state[f"optimizers/{name}/{key}/{quantity}"] = tensor
    return state


def restore(learner: Learner, state: Mapping[str, Tensor]) -> None:
    """Bring a learner to a state that `state_of` gave; further averages that it does not hold are given up.

    Raises GensweepError if it is another model's.
    """
    # An average over a past that nobody kept cannot be made up, so the training goes on without it.
    kept = {MAIN_AVERAGE, *weights_in(state)}
    learner.sums = LossSums.of(state, learner.workers, learner.device)
    learner.averages = {name: average for name, average in learner.averages.items() if name in kept}
    for prefix, module in _modules(learner).items():
        load_network(module, state, prefix)
    for name, optimizer in learner.optimizers.items():
        keys = {parameter: key for key, parameter in learner.family.networks[name].named_parameters()}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter] = {
                    quantity: _like(parameter, tensor, counters_beside=bool(group.get("fused")))
                    for quantity, tensor in _below(state, f"optimizers/{name}/{keys[parameter]}/")
                }


def _modules(learner: Learner) -> dict[str, nn.Module]:
    """What is saved besides optimizers, by the prefix of its tensors' names."""
    family = learner.family
    modules = {weights_prefix(RAW_WEIGHTS, name): network for name, network in family.networks.items()}
    modules |= {f"memories/{name}/": memory for name, memory in family.memories.items()}
    return modules | {weights_prefix(name, family.sampled): each.network for name, each in learner.averages.items()}


def load_network(network: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Copy the tensors below a prefix into a network.  Raises GensweepError if they are missing or do not fit it."""
    tensors = dict(_below(state, prefix))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        if not tensors:
            raise GensweepError(
                f"the checkpoint has no weights {prefix}*; an exported one holds only the network that draws images, "
                "so name the run that it comes from"
            ) from None
        reason = " ".join(str(error).split())
        raise GensweepError(
            f"the weights {prefix}* of the checkpoint do not fit this model ({reason[:300]}); "
            "settings of the network cannot change after training"
        ) from None


def sampler_prefix(learner: Learner) -> str:
    """Where the weights that draw samples stand in the state."""
    return weights_prefix(RAW_WEIGHTS if learner.ema is None else MAIN_AVERAGE, learner.family.sampled)


def weights_prefix(weights: str, sampled: str) -> str:
    """Where the raw weights, or an average by its name, of the network that draws samples stand in the state."""
    return f"{'networks' if weights == RAW_WEIGHTS else weights}/{sampled}/"


def weights_in(names: Iterable[str]) -> list[str]:
    """The weights that a state with tensors of these names has: the main average, the others, and RAW_WEIGHTS."""
    found = {name.partition("/")[0] for name in names}
    averages = sorted(
        (name for name in found if name.startswith(MAIN_AVERAGE)), key=lambda name: float(name.partition("@")[2] or 0)
    )
    return [*averages, RAW_WEIGHTS]


def _below(state: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor


def _like(parameter: nn.Parameter, tensor: Tensor, *, counters_beside: bool) -> Tensor:
    """A copy where the optimizer expects it: moments lie like the parameter, counters beside it only if fused."""
    if tensor.shape == parameter.shape and tensor.dim():
        return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device if counters_beside else "cpu", copy=True)
