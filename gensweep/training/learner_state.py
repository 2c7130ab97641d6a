"""A learner's state as flat, named tensors, and back.

Names are `networks/NETWORK/PARAMETER`, `ema/NETWORK/PARAMETER`, `ema@FACTOR/NETWORK/PARAMETER` for further averages,
`memories/MEMORY/BUFFER` and `optimizers/NETWORK/PARAMETER/QUANTITY`.  With the seed and the position these define a
training, so resuming gives the same result as an uninterrupted training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from gensweep.errors import GensweepError
from gensweep.training.ema import MAIN_AVERAGE
from gensweep.training.loop import Learner, LossSums

#: Name of the last weights, next to the names of averages.
RAW_WEIGHTS = "raw"


def state_of(learner: Learner) -> dict[str, Tensor]:
    """All tensors of networks, averages and optimizers, sharing the learner's memory."""
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
    """Restore a state from `state_of`; further averages that it lacks are dropped.

    Raises GensweepError if it belongs to another model.
    """
    # An average cannot be rebuilt without its past, so training continues without it.
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
    """Saved modules besides optimizers, by the prefix of their tensors' names."""
    family = learner.family
    modules = {weights_prefix(RAW_WEIGHTS, name): network for name, network in family.networks.items()}
    modules |= {f"memories/{name}/": memory for name, memory in family.memories.items()}
    return modules | {weights_prefix(name, family.sampled): each.network for name, each in learner.averages.items()}


def load_network(network: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Copy the tensors with a prefix to a network.  Raises GensweepError if they are missing or do not fit."""
    tensors = dict(_below(state, prefix))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        if not tensors:
            raise GensweepError(
                f"the checkpoint has no weights {prefix}*; an exported one holds only the sampling network, "
                "so name the original run"
            ) from None
        reason = " ".join(str(error).split())
        raise GensweepError(
            f"the weights {prefix}* of the checkpoint do not fit this model ({reason[:300]}); "
            "settings of the network cannot change after training"
        ) from None


def sampler_prefix(learner: Learner) -> str:
    """Prefix of the sampling weights in the state."""
    return weights_prefix(RAW_WEIGHTS if learner.ema is None else MAIN_AVERAGE, learner.family.sampled)


def weights_prefix(weights: str, sampled: str) -> str:
    """Prefix of the sampling network's raw weights, or of an average by its name."""
    return f"{'networks' if weights == RAW_WEIGHTS else weights}/{sampled}/"


def weights_in(names: Iterable[str]) -> list[str]:
    """Weights in a state with these tensor names: the main average, the others, and RAW_WEIGHTS."""
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
    """A copy on the optimizer's device: moments like the parameter, counters too only if fused."""
    if tensor.shape == parameter.shape and tensor.dim():
        return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device if counters_beside else "cpu", copy=True)
