"""Made-up trials whose shares of variance are known, to count how often intervals hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensweep.report.variance import Population, ShareInterval, decomposed, factor_of


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
            "a": [factor_of("rate", a, rates[a].tolist()), factor_of("other", a, others[a].tolist())],
            "b": [
                factor_of("rate", b, rates[b].tolist()),
                factor_of("kind", b, [str(each) for each in branch[b]]),
                factor_of("inner", c, inners[c].tolist()),
            ],
        }
        found = {name: [each for each in listed if each is not None] for name, listed in factors.items()}
        return Population(y, {"a": np.array(a), "b": np.array(b)}, found)


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


@dataclass(frozen=True)
class ShareCoverage:
    """Of one share: the truth, the mean of its estimates, and how often intervals held it, in % of the repeats."""

    name: str
    truth: float
    mean: float
    covered: float


def share_coverage(truth: Truth, trials: int, repeats: int, seed: int = 0) -> list[ShareCoverage]:
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
