"""A training step never waits for its device: nothing is read from there, and nothing is copied there or back.

PyTorch's device "meta" computes shapes only, so it cannot give a number to the host; copies between it and the host are
refused here.  What a GPU would wait for is an error then.
"""

from contextlib import contextmanager

import pytest
import tiny
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gensweep.data.loader import Loader
from gensweep.diffusion.gamma import GAMMAS
from gensweep.diffusion.levels import LOSSES, TRAINING_LEVELS
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.families.family import FAMILIES
from gensweep.gan.adversarial_losses import GAN_LOSSES, PENALTIES
from gensweep.gan.augmentation import AUGMENTATIONS
from gensweep.nn.networks import ADVERSARIES, DENOISERS
from gensweep.nn.updates import UPDATES
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

#: The network beside other choices than of a network: each of its operations costs time.
SHORT = {"network": {"kind": "cnn", "width": 8, "depth": 1}}
#: Where a family takes its items from, and the settings beside an item; the family's small settings are tried anyway.
CHOICES = {
    "diffusion": {
        "network": ([kind for kind in DENOISERS if kind != "unet"], {}),
        "diffusion.levels": (TRAINING_LEVELS, {"timesteps": 20}),
        "diffusion.parameterisation": (PARAMETERISATIONS, {}),
        "diffusion.loss": (LOSSES, {"timesteps": 20}),
    },
    "vdm": {"vdm.schedule": (GAMMAS, {})},
    "gan": {
        "network": ([kind for kind in ADVERSARIES if kind != "dcgan"], {}),
        "gan.loss": (GAN_LOSSES, {"latent": 6}),
        "gan.penalty": (PENALTIES, {"latent": 6, "discriminator_steps": 2}),
        "gan.augmentation": (AUGMENTATIONS, {"latent": 6}),
    },
}


def cases():
    for kind in FAMILIES:
        # Pairs are sought by a solver on the host, which a flow has to wait for.
        settings = {"flow": {"pairing": {"kind": "independent"}}} if kind == "flow" else {}
        if kind in ("flow", "vdm"):  # the U-Net's steps are those of a diffusion
            settings |= SHORT
        yield pytest.param(kind, settings, id=kind)
    for kind, choices in CHOICES.items():
        for key, (registry, beside) in choices.items():
            for item in registry:
                section, _, part = key.partition(".")
                chosen = {"kind": item} if not part else beside | {part: {"kind": item}}
                short = SHORT if part and kind != "gan" else {}
                yield pytest.param(kind, short | {section: chosen}, id=f"{key}: {item}")


class NoCopies(TorchDispatchMode):
    """Refuses to copy a tensor from the host to the device or back."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if "copy" in func.__name__:
            devices = {each.device for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)}
            assert len(devices) <= 1, f"{func} copies between the host and the device"
        return out


class NoLiterals(TorchFunctionMode):
    """Refuses to make a tensor of the device from numbers of the host, which is a copy that no dispatch mode sees."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        assert func not in (torch.tensor, torch.as_tensor) or out.device.type == "cpu", f"{func} copies to the device"
        return out


class Plain(torch.autocast):
    """There is no autocast on the device "meta"; the networks are computed in float32."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@contextmanager
def on_device(monkeypatch, kind, update=None, **settings):
    """Takes training steps on the device, which is not to wait while the context lasts."""
    monkeypatch.setattr(torch, "autocast", Plain)
    monkeypatch.setattr("gensweep.noise.PHILOX_ROUNDS", 2)  # shapes take PyTorch longer than numbers
    family = tiny.build(kind, conditional=True, **settings)
    if update is not None:
        UPDATES[update](family.networks[family.sampled], lambda: None, family.classes, 1)
        family.classes += 1
    if kind == "vdm":  # which reads a number of the device once in many steps
        family.most_neighbours = 3
    training = TrainingSettings(images=64, batch_size=8, precision="float32", ema_half_life=30)
    learner, loader = Learner(family, training, seed=3, device="meta"), Loader(tiny.images(), seed=3, device="meta")
    learner.images = training.batch_size
    learner.step(loader)  # tables are moved to the device once
    with NoCopies(), NoLiterals():
        yield lambda: learner.step(loader)


@pytest.mark.trains
@pytest.mark.parametrize(("kind", "settings"), list(cases()))
def test_no_step_waits_for_its_device(kind, settings, monkeypatch):
    with on_device(monkeypatch, kind, **settings) as step:
        step()
        step()


@pytest.mark.trains
@pytest.mark.parametrize("update", UPDATES.kinds())
def test_no_step_of_a_fine_tuning_waits_for_its_device(update, monkeypatch):
    with on_device(monkeypatch, "diffusion", update) as step:
        step()
