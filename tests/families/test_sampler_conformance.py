"""Every sampler with every parameterisation, spacing, number of steps and guidance, as a family uses them."""

import copy
import functools
import itertools
from typing import get_args

import pytest
import torch
from tiny import CLASSES, SIZE, build

from gensweep.config.models import bind, item_model
from gensweep.diffusion.parameterisations import PARAMETERISATIONS
from gensweep.diffusion.samplers.sampler import SAMPLERS, Spacing
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise
from gensweep.registry import keywords
from gensweep.training.cost import counted_calls

TIMESTEPS = 20
#: Every sampler at each of its spacings, and what else it has.
SAMPLER_SETTINGS = [
    {"kind": kind} | ({} if spacing is None else {"spacing": spacing})
    for kind in SAMPLERS
    for spacing in (get_args(Spacing) if "spacing" in keywords(SAMPLERS[kind]) else [None])
]
SAMPLER_SETTINGS += [{"kind": "ddim", "eta": 0.7}, {"kind": "heun", "churn": 10.0, "churn_noise": 1.01}]


def named(settings):
    return "-".join(map(str, settings.values()))


class Network(torch.nn.Module):
    """Says something that depends on all that it is told, a little too large to be an image."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.9))

    def forward(self, x, time, labels):
        told = time / 1000 if labels is None else time / 1000 + labels
        return self.slope * x + 0.3 * told.view(-1, 1, 1, 1)


@functools.cache
def built(parameterisation, conditional):
    """A diffusion model with one of the parameterisations, or another family by its name."""
    if parameterisation in FAMILIES:
        made = build(parameterisation, conditional)
    else:
        diffusion = {"timesteps": TIMESTEPS, "parameterisation": {"kind": parameterisation}}
        made = build("diffusion", conditional, diffusion=diffusion)
    made.networks = {made.sampled: Network()}
    return made


def family(sampler, parameterisation="eps", conditional=True, guidance=1.0, guidance_interval=None):
    made = copy.copy(built(parameterisation, conditional))  # to build a real network each time would take a minute
    made.sampler = bind(item_model(SAMPLERS, sampler["kind"]).model_validate(sampler))
    made.guidance, made.guidance_interval = guidance, guidance_interval
    return made


def images(family, first, count):
    samples = torch.arange(first, first + count)
    labels = samples % CLASSES if family.classes else None
    with torch.no_grad():
        return family.sample(family.networks[family.sampled], Noise(3, samples), labels)


GUIDANCES = [{}, {"guidance": 0.0}, {"guidance": 7.5}, {"guidance": 3.0, "guidance_interval": (0.3, 5.0)}]
#: Each parameterisation, number of steps and guidance, in pairs.
PAIRS = [("eps", 1, {}), *zip(PARAMETERISATIONS, itertools.repeat(2), itertools.cycle(GUIDANCES), strict=False)]
PAIRS += [("v", None, GUIDANCES[-1]), ("v", 2, {}), ("edm", 2, GUIDANCES[-2])]
PAIRS += [("flow", 2, {}), ("flow", 5, GUIDANCES[-1])]


def cases():
    """Every sampler with all pairs; its further spacings, which are other levels only, with two."""
    kinds = set()
    for sampler in SAMPLER_SETTINGS:
        another_spacing = sampler["kind"] in kinds and "spacing" in sampler
        kinds.add(sampler["kind"])
        for pair in [PAIRS[0], PAIRS[-1]] if another_spacing else PAIRS:
            yield pytest.param(sampler, *pair, id="-".join([named(sampler), *map(str, pair)]))


@pytest.mark.parametrize(("sampler", "parameterisation", "steps", "guidance"), list(cases()))
def test_images_are_in_range_and_do_not_depend_on_the_batch(sampler, parameterisation, steps, guidance):
    made = family(sampler | {"steps": steps}, parameterisation, conditional=bool(guidance), **guidance)
    whole = images(made, 0, 5)
    assert whole.shape == (5, 1, SIZE, SIZE)
    assert whole.dtype == torch.float32
    assert torch.isfinite(whole).all()
    assert whole.abs().max() <= 1
    split = torch.cat([images(made, 0, 2), images(made, 2, 3)])
    torch.testing.assert_close(whole, split, rtol=0, atol=1e-4)


def evaluations(sampler, steps, **settings):
    return counted_calls(family(sampler | {"steps": steps}, **settings)).calls


@pytest.mark.parametrize("sampler", SAMPLER_SETTINGS, ids=named)
@pytest.mark.parametrize("steps", [1, 2, 9, None])
def test_an_image_costs_what_the_docs_say(sampler, steps):
    count = TIMESTEPS if steps is None else steps
    plain = 2 * count - 1 if sampler["kind"].endswith("heun") else count
    assert evaluations(sampler, steps) == plain
    assert evaluations(sampler, steps, guidance=0.0) == plain
    assert evaluations(sampler, steps, guidance=4.0) == 2 * plain


@pytest.mark.parametrize("sampler", [each for each in SAMPLER_SETTINGS if "churn" not in each], ids=named)
def test_guidance_costs_twice_only_at_the_levels_of_its_interval(sampler):
    """Not with churn, whose levels lie elsewhere."""
    steps, (low, high) = 12, (0.3, 5.0)
    made = family(sampler | {"steps": steps}, guidance=4.0, guidance_interval=(low, high))
    levels = made.process.sigmas(steps, sampler.get("spacing", "time"))[:-1]
    asked = levels + levels[1:] if sampler["kind"].endswith("heun") else levels
    inside = sum(low < sigma <= high for sigma in asked)
    assert 0 < inside < len(asked)
    assert counted_calls(made).calls == len(asked) + inside
