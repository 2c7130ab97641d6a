"""A learner's state as flat, named tensors, and back.

Names are `networks/NETWORK/PARAMETER`, `ema/NETWORK/PARAMETER`, `memories/MEMORY/BUFFER` and
`optimizers/NETWORK/PARAMETER/QUANTITY`.  With the
seed and the position these are all that a training is made of, so one that goes on from them equals one that never
stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gensweep.errors import GensweepError
from gensweep.training.loop import Learner

__all__ = ["load_network", "restore", "sampler_prefix", "state_of"]


def state_of(learner: Learner) -> dict[str, Tensor]:
    """Every tensor of networks, averaged weights and optimizers; they share memory with the learner's."""
    state = {
        f"networks/{name}/{key}": tensor
        for name, network in learner.family.networks.items()
        for key, tensor in network.state_dict().items()
    }
    for name, memory in learner.family.memories.items():
        state |= {f"memories/{name}/{key}": tensor for key, tensor in memory.state_dict().items()}
    if learner.ema is not None:
        prefix = sampler_prefix(learner)
        state |= {prefix + key: tensor for key, tensor in learner.ema.network.state_dict().items()}
    for name, optimizer in learner.optimizers.items():
        for key, parameter in learner.family.networks[name].named_parameters():
            for quantity, tensor in optimizer.state.get(parameter, {}).items():
                state[f"optimizers/{name}/{key}/{quantity}"] = tensor
    return state


def restore(learner: Learner, state: Mapping[str, Tensor]) -> None:
    """Bring a learner to a state that `state_of` gave.  Raises GensweepError if it is another model's."""
    for name, network in learner.family.networks.items():
        load_network(network, state, f"networks/{name}/")
    for name, memory in learner.family.memories.items():
        load_network(memory, state, f"memories/{name}/")
    if learner.ema is not None:
        load_network(learner.ema.network, state, sampler_prefix(learner))
    for name, optimizer in learner.optimizers.items():
        network = learner.family.networks[name]
        fused = {id(p): bool(group.get("fused")) for group in optimizer.param_groups for p in group["params"]}
        for key, parameter in network.named_parameters():
            saved = dict(_below(state, f"optimizers/{name}/{key}/"))
            optimizer.state[parameter] = {
                quantity: _like(parameter, tensor, counters_beside=fused[id(parameter)])
                for quantity, tensor in saved.items()
            }


def load_network(network: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Copy the tensors below a prefix into a network.  Raises GensweepError if they do not fit it."""
    try:
        network.load_state_dict(dict(_below(state, prefix)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise GensweepError(
            f"the weights {prefix}* of the checkpoint do not fit this model ({reason[:300]}); "
            "settings of the network cannot change after training"
        ) from None


def sampler_prefix(learner: Learner) -> str:
    """Where the weights that draw samples stand in the state."""
    return f"{'networks' if learner.ema is None else 'ema'}/{learner.family.sampled}/"


def _below(state: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor


def _like(parameter: nn.Parameter, tensor: Tensor, *, counters_beside: bool) -> Tensor:
    """A copy where the optimizer expects it: moments lie like the parameter, counters beside it only if fused."""
    if tensor.shape == parameter.shape and tensor.dim():
        return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
    return tensor.to(parameter.device if counters_beside else "cpu", copy=True)
