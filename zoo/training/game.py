"""The game report: how the play of generator and discriminator goes, in numbers and in plain sentences.

Three questions that learners ask of a GAN:

- *Equilibrium*: can the discriminator tell real from fake? Its advantage is 1 - L / L*, with its loss L and the loss
  L* it has where generator and data agree (log 4 for the losses of the 2014 paper, whose optimum is D = 1/2): 1 when
  it always knows, 0 at equilibrium, below 0 when it would do better by staying silent. A Wasserstein critic has no
  such scale: for it, the gap between its mean outputs in units of their spread.
- *Starvation*: does the generator still get gradients? The norm of the generator's gradient against the
  discriminator's.
- *Collapse*: are the samples as varied as the data? The mean distance between two samples of a fixed set of latents,
  against that between two real samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.training.losses import LOSSES

DOMINANT = 0.9  # advantage above which the discriminator is nearly perfect
STARVED = 0.01  # gradient ratio below which the generator hardly learns
COLLAPSED = 0.6  # diversity against the data's below which modes are missing


class Game:
    """Collects what the phases return and sums it up at each log line."""

    def __init__(self, loss: str) -> None:
        self._loss = LOSSES[loss]
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def watch(self, phase: str, terms: Mapping[str, Tensor], gradient_norm: float) -> None:
        """Take in one phase's terms: scalars are averaged, "real" and "fake" outputs kept as mean and spread."""
        self._add(f"loss/{phase}", float(terms["loss"]))
        self._add(f"gradient_norm/{phase}", gradient_norm)
        for name, value in terms.items():
            if name in ("real", "fake"):
                self._add(f"output/{name}", float(value.mean()))
                self._add(f"output_squared/{name}", float(value.square().mean()))
                if name == "real":
                    advantage_loss = self._loss.discriminator(terms["real"].detach(), terms["fake"].detach())
                    self._add("adversarial_loss", float(advantage_loss))
            elif name != "loss":
                self._add(name, float(value))

    def _add(self, name: str, value: float) -> None:
        self._sums[name] += value
        self._counts[name] += 1

    def summary(self) -> dict[str, float]:
        """Means since the last summary, with `game/advantage` and `game/gradient_ratio` where they can be told."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        squares = [means.pop(f"output_squared/{name}", 0.0) for name in ("real", "fake")]
        adversarial = means.pop("adversarial_loss", None)
        if adversarial is not None:
            if self._loss.equilibrium:
                means["game/advantage"] = 1 - adversarial / self._loss.equilibrium
            else:
                outputs = [means["output/real"], means["output/fake"]]
                variance = sum(max(s - o * o, 0.0) for s, o in zip(squares, outputs, strict=True)) / 2
                means["game/advantage"] = (outputs[0] - outputs[1]) / (variance + 1e-12) ** 0.5
        if "gradient_norm/G" in means and "gradient_norm/D" in means:
            means["game/gradient_ratio"] = means["gradient_norm/G"] / (means["gradient_norm/D"] + 1e-12)
        return means


def diversity(samples: Tensor, real: Tensor) -> float:
    """Mean distance between two of `samples` [N, ...], over that between two of `real` [M, ...].

    Euclidean; of tokens, which are equal or not, the number of places where they differ.
    """
    norm = 2.0 if samples.is_floating_point() else 0.0
    distances = [torch.pdist(batch.flatten(1).float(), p=norm).mean() for batch in (samples, real)]
    return float(distances[0] / distances[1].clamp_min(1e-12))


def sentences(summary: Mapping[str, float], loss: str) -> list[str]:
    """What the numbers of a summary mean, one plain sentence for each question that can be answered."""
    told = []
    advantage = summary.get("game/advantage")
    if advantage is not None and LOSSES[loss].equilibrium:
        how = (
            "the discriminator nearly always knows: it is too strong, or the samples are not there yet"
            if advantage > DOMINANT
            else "the discriminator does worse than silence would: it is too weak or swings, lower the rates"
            if advantage < -0.05
            else "near equilibrium: the discriminator can hardly tell real from fake (early on, it knows nothing yet)"
            if advantage < 0.15
            else "in play: the discriminator tells many samples apart, and the generator has something to learn"
        )
        told.append(f"Equilibrium: advantage {advantage:.2f} (0 is equilibrium, 1 is perfect); {how}.")
    elif advantage is not None:
        told.append(
            f"Equilibrium: the critic's outputs on real and fake lie {advantage:.2f} spreads apart "
            "(0 is equilibrium; a gap that shrinks slowly is a game that converges)."
        )
    ratio = summary.get("game/gradient_ratio")
    if ratio is not None:
        remedy = "non_saturating, a lower" if loss == "minimax" else "a lower"
        how = (
            f"the generator starves; try {remedy} discriminator rate, or R1"
            if ratio < STARVED
            else "the generator is fed"
        )
        told.append(f"Starvation: its gradient is {ratio:.2g} times the discriminator's; {how}.")
    variety = summary.get("game/diversity")
    if variety is not None:
        how = (
            "samples resemble one another: modes are missing; try a smaller rate, R1, or DiffAugment"
            if variety < COLLAPSED
            else "no collapse"
        )
        told.append(f"Collapse: samples are {variety:.0%} as varied as the data; {how}.")
    return told
