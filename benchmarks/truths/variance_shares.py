"""Made-up trials whose shares of variance are known, to count how often intervals hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gensweep.verdict.importance import Population, ShareInterval, decomposed, factor_of


@dataclass(frozen=True)
class Truth:
    """Shares of the variance of trials of two families, a and b, half of each.

    `rate` is that of a learning rate, which acts in both; `inner` that of a setting that only one of two branches of
    family b has.  What is left of 1 is noise.  Another setting and the branch itself do nothing.
    """

    family: float = 0.0
    rate: float = 0.0
    inner: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """By name of the family and setting."""
        rest = 1 - self.family - self.rate - self.inner
        rates = {"a rate": self.rate / 2, "b rate": self.rate / 2}
        return {"family": self.family, **rates, "b inner": self.inner, "a other": 0.0, "b kind": 0.0, "rest": rest}

    def draw(self, trials: int, rng: np.random.Generator) -> Population:
        """A population whose variance is 1."""
        in_a, branch = rng.random(trials) < 0.5, rng.random(trials) < 0.5
        rates, inners, others = rng.random((3, trials))
        deep = ~in_a & branch
        # Numbers from 0 to 1 have a variance of 1/12; a quarter of the trials has the inner setting.
        y = np.sqrt(self.family) * np.where(in_a, 1, -1) + np.sqrt(12 * self.rate) * (rates - 0.5)
        y += np.where(deep, np.sqrt(4 * 12 * self.inner) * (inners - 0.5), 0)
        y += np.sqrt(self.shares["rest"]) * rng.standard_normal(trials)
        a, b, c = (np.flatnonzero(rows).tolist() for rows in (in_a, ~in_a, deep))
        factors = {
            "a": [factor_of("rate", a, rates[a].tolist(), y), factor_of("other", a, others[a].tolist(), y)],
            "b": [
                factor_of("rate", b, rates[b].tolist(), y),
                factor_of("kind", b, [str(each) for each in branch[b]], y),
                factor_of("inner", c, inners[c].tolist(), y),
            ],
        }
        found = {name: [each for each in listed if each is not None] for name, listed in factors.items()}
        return Population(y, {"a": np.array(a), "b": np.array(b)}, found)


@dataclass(frozen=True)
class Cliff:
    """Shares of the variance of trials of one family, a, whose scores get worse above a learning rate of CLIFF.

    They jump there, or rise from there as a line or a parabola.  Another setting does nothing.
    """

    kind: Literal["jump", "line", "parabola"]
    rate: float = 0.99

    @property
    def shares(self) -> dict[str, float]:
        """By name of the setting."""
        return {"a rate": self.rate, "a other": 0.0, "rest": 1 - self.rate}

    def draw(self, trials: int, rng: np.random.Generator) -> Population:
        """A population whose variance is 1."""
        rates, others = rng.random((2, trials))
        power, above = POWERS[self.kind], 1 - CLIFF
        effect = (rates > CLIFF) * np.maximum(rates - CLIFF, 0) ** power
        variance = above ** (2 * power + 1) / (2 * power + 1) - (above ** (power + 1) / (power + 1)) ** 2
        y = np.sqrt(self.rate / variance) * effect + np.sqrt(1 - self.rate) * rng.standard_normal(trials)
        rows = list(range(trials))
        factors = [factor_of("rate", rows, rates.tolist(), y), factor_of("other", rows, others.tolist(), y)]
        return Population(y, {"a": np.arange(trials)}, {"a": [each for each in factors if each is not None]})


#: Where the cliff is in the range of a learning rate, which begins at 0 and ends at 1.
CLIFF = 0.7
#: By kind of cliff, the power of the distance from it that scores get worse with.
POWERS = {"jump": 0, "line": 1, "parabola": 2}
#: What adding shares up may change.
ROUNDING = 1e-9
#: The family decides nearly all; nothing does anything; and three mixtures.
TRUTHS: Sequence[Truth] = (
    Truth(family=0.83, rate=0.02),
    Truth(),
    Truth(family=0.3, rate=0.3, inner=0.1),
    Truth(rate=0.6),
    Truth(family=0.4, rate=0.1, inner=0.3),
)
CLIFFS: Sequence[Cliff] = (Cliff("jump"), Cliff("line"), Cliff("parabola"))


@dataclass(frozen=True)
class ShareCoverage:
    """Of one share: the truth, the mean of its estimates, and how often intervals held it, in % of the repeats."""

    name: str
    truth: float
    mean: float
    covered: float


def share_coverage(truth: Truth | Cliff, trials: int, repeats: int, seed: int = 0) -> list[ShareCoverage]:
    """How well the shares of so many trials are estimated."""
    rng, found = np.random.default_rng(seed), dict[str, list[ShareInterval]]()
    for repeat in range(repeats):
        shares = decomposed(truth.draw(trials, rng), seed=repeat)
        named = {" ".join(key): each for key, each in shares.within.items()} | {"rest": shares.rest}
        for name, each in (named | ({} if shares.between is None else {"family": shares.between})).items():
            found.setdefault(name, []).append(each)
    coverages = []
    for name, true in truth.shares.items():
        listed = found.get(name, [])
        held = [each.low <= true + ROUNDING and true - ROUNDING <= each.high for each in listed]
        mean = float(np.mean([each.share for each in listed]))
        coverages.append(ShareCoverage(name, true, mean, 100 * float(np.mean(held))))
    return coverages
