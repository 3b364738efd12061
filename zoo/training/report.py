"""The training report: how the training of generator and discriminator goes, in numbers and in plain sentences.

It answers three questions:

- *Equilibrium*: can the discriminator tell real from fake? Its advantage is 1 - L / L*, with its loss L and the loss
  L* where generator and data agree (log 4 for the losses of the 2014 paper, whose optimum is D = 1/2). It is 1 when
  the discriminator is always right, 0 at equilibrium, and below 0 when a constant output would do better. A Wasserstein
  critic has no such scale: for it, the advantage is the gap between its mean outputs in units of their deviation.
- *Starvation*: does the generator still get gradients? The norm of the generator's gradient over the discriminator's.
  Both may vanish together, where the loss saturates. So for such a loss there is its slope, too: that of the
  generator's loss at the discriminator's outputs, over the slope at equilibrium.
- *Collapse*: are the samples as varied as the data? The mean distance between two samples of fixed latents, over that
  between two real samples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from zoo.errors import InvalidValueError, count
from zoo.recipe import Recipe, override_recipe
from zoo.training.losses import LOSSES

DOMINANT = 0.9  # advantage above which the discriminator is nearly perfect
STARVED = 0.01  # gradient ratio below which the generator hardly learns
FLAT = 0.05  # slope of a loss, relative to that at equilibrium, below which the generator hardly learns
COLLAPSED = 0.6  # diversity relative to the data's below which modes are missing
NOISY = 1.5  # diversity relative to the data's above which samples are noise, or exaggerated
MOST_DIVERSE = 10.0  # the largest diversity that is reported: that of noise, and of any samples beside data all alike
FIRST_STEPS = 200  # steps before which nothing is said: networks have learned nothing yet
ALIKE = 1e-6  # the mean distance between two real samples below which they hardly differ


class TrainingReport:
    """Collects what the phases return and sums it up for each line of the log."""

    def __init__(self, loss: str) -> None:
        self._loss = LOSSES[loss]
        self._values: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, phase: str, terms: Mapping[str, Tensor], gradient_norm: Tensor) -> None:
        """Add the terms of one phase: scalars are averaged, "real" and "fake" outputs kept as mean and deviation.

        The numbers stay on their device until `summary`, so that no step waits for them.
        """
        self._values[f"loss/{phase}"].append(terms["loss"].detach())
        self._values[f"gradient_norm/{phase}"].append(gradient_norm)
        for name, value in terms.items():
            if name in ("real", "fake"):
                self._values[f"output/{name}"].append(value.detach().float().mean())
                self._values[f"output_squared/{name}"].append(value.detach().float().square().mean())
                if name == "real":
                    real, fake = (terms[part].detach().float() for part in ("real", "fake"))
                    self._values["adversarial_loss"].append(self._loss.discriminator(real, fake))
                    if self._loss.slope is not None:
                        self._values["report/slope"].append(self._loss.slope(fake).mean())
            elif name != "loss":
                self._values[name].append(value.detach())

    def summary(self) -> dict[str, float]:
        """Return the means since the last summary, with the advantage and the gradient ratio where they exist."""
        means = {}
        for name, values in self._values.items():
            numbers = _read(values)
            if name.startswith("gradient_norm/"):  # float16 leaves out a step whose gradients overflow
                numbers = [number for number in numbers if math.isfinite(number)]
            if numbers:
                means[name] = sum(numbers) / len(numbers)
        self._values.clear()
        squares = [means.pop(f"output_squared/{name}", 0.0) for name in ("real", "fake")]
        adversarial = means.pop("adversarial_loss", None)
        if adversarial is not None:
            if self._loss.equilibrium:
                means["report/advantage"] = 1 - adversarial / self._loss.equilibrium
            else:
                outputs = [means["output/real"], means["output/fake"]]
                variance = sum(max(s - o * o, 0.0) for s, o in zip(squares, outputs, strict=True)) / 2
                means["report/advantage"] = (outputs[0] - outputs[1]) / (variance + 1e-12) ** 0.5
        if "gradient_norm/G" in means and "gradient_norm/D" in means:
            means["report/gradient_ratio"] = means["gradient_norm/G"] / (means["gradient_norm/D"] + 1e-12)
        return means


def _read(values: list[Tensor]) -> list[float]:
    """Read numbers from their device, all of them in one transfer."""
    device = values[0].device
    return torch.stack([value.to(device).flatten()[0] for value in values]).tolist()


def measure_diversity(samples: Tensor, real: Tensor) -> float:
    """Compute the mean distance between two of `samples` [N, ...], over that between two of `real` [M, ...].

    The distance is Euclidean. Between texts it is the number of places with different tokens. The result is at most
    MOST_DIVERSE, which also stands for real samples that hardly differ, and for a single one.
    """
    norm = 2.0 if samples.is_floating_point() else 0.0
    distances = [torch.pdist(batch.flatten(1).float(), p=norm).mean() for batch in (samples, real)]
    if not distances[1] > ALIKE:  # also NaN, of a single sample
        return MOST_DIVERSE
    return min(float(distances[0] / distances[1]), MOST_DIVERSE)


def explain(summary: Mapping[str, float], recipe: Recipe, *, num_steps: int) -> list[str]:
    """Explain the numbers of a summary: one plain sentence for each question that they answer.

    Args:
        recipe: of the training. Only settings that its architecture takes are recommended.
        num_steps: steps so far. Before FIRST_STEPS nothing is judged.
    """
    if num_steps < FIRST_STEPS:
        return [f"After {count(num_steps, 'step')} it is too early to say how the training goes; the report starts "
                f"at {FIRST_STEPS} steps."]  # fmt: skip
    lines = []
    advantage = summary.get("report/advantage")
    if advantage is not None and LOSSES[recipe.train.loss].equilibrium:
        lines.append(
            f"Equilibrium: advantage {advantage:.2f} (0 is equilibrium, 1 is perfect); {_explain_advantage(advantage)}."
        )
    elif advantage is not None:
        lines.append(
            f"Equilibrium: the critic's outputs on real and fake are {advantage:.2f} deviations apart "
            "(0 is equilibrium; a gap that shrinks slowly means that the training converges)."
        )
    ratio, slope = summary.get("report/gradient_ratio"), summary.get("report/slope", 1.0)
    if slope < FLAT:
        lines.append(
            _explain_gradient(f"loss has {100 * slope:.2g}% of its slope at equilibrium", recipe, starves=True)
        )
    elif ratio is not None:
        what = f"gradient is {ratio:.2g} times the discriminator's"
        lines.append(_explain_gradient(what, recipe, starves=ratio < STARVED))
    variety = summary.get("report/diversity")
    if variety is not None and not _takes_input(recipe):  # else samples vary as the input does
        lines.append(f"Collapse: {_explain_diversity(variety, recipe)}.")
    return lines


def _explain_advantage(advantage: float) -> str:
    if advantage > DOMINANT:
        return "the discriminator is nearly always right: it is too strong, or the samples are still poor"
    if advantage < -0.05:
        return "the discriminator is worse than a constant output: it is too weak or oscillates; lower the rates"
    if advantage < 0.15:
        return "near equilibrium: the discriminator can hardly tell real from fake"
    return "balanced: the discriminator recognizes many samples, and the generator has something to learn"


def _explain_gradient(what: str, recipe: Recipe, *, starves: bool) -> str:
    advice = f"starves{_recommend(recipe, 'non_saturating', 'rate', 'r1')}" if starves else "gets enough gradient"
    return f"Starvation: the generator's {what}; the generator {advice}."


def _explain_diversity(variety: float, recipe: Recipe) -> str:
    if variety >= MOST_DIVERSE:
        return (
            f"samples are {MOST_DIVERSE:.0f} times as varied as the data or more; they are still noise, or the real "
            "samples hardly differ from one another"
        )
    said = f"samples are {variety:.0%} as varied as the data"
    if variety > NOISY:
        return f"{said}, which is too much: they are still noise, or exaggerated"
    if variety < COLLAPSED:
        return f"{said} and resemble one another: modes are missing{_recommend(recipe, 'rate', 'r1', 'augment')}"
    return f"{said}; no collapse of all (single modes may be missing: recall and coverage show it)"


def _recommend(recipe: Recipe, *remedies: str) -> str:
    """Recommend those of the remedies that the recipe's architecture takes."""
    train = recipe.train
    known = {
        "non_saturating": ("train.loss=non_saturating" if train.loss == "minimax" else "", "train.loss=non_saturating"),
        "rate": (f"a train.discriminator.lr below {train.discriminator.lr:g}", "train.discriminator.lr=1e-5"),
        "r1": (f"a train.r1_gamma above {train.r1_gamma:g}", "train.r1_gamma=0.1"),
        "augment": ("" if train.augment else "train.augment=ada", "train.augment=ada"),
    }
    tried = [advice for advice, override in map(known.__getitem__, remedies) if advice and accepts(recipe, override)]
    return f"; try {', or '.join(tried)}" if tried else ""


def accepts(recipe: Recipe, override: str) -> bool:
    """Tell whether the architecture of a recipe takes a setting `key=value`."""
    try:
        override_recipe(recipe, [override])
    except InvalidValueError:
        return False
    return True


def _takes_input(recipe: Recipe) -> bool:
    return any(option.name == "input" for option in fields(recipe.architecture_class.SampleOptions))
