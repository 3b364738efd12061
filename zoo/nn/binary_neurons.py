"""Binary neurons: units that are 0 or 1 in what they say, and have a slope in how they learn.

Dong & Yang 2018, "Convolutional Generative Adversarial Networks with Binary Neurons for Polyphonic Music Generation",
arXiv:1804.09399, section 3.3. A deterministic neuron rounds its probability, a stochastic one is drawn with it. Both
take the gradient of the probability for their own (the sigmoid-adjusted straight-through estimator), whose slope grows
while they learn, so that the probability comes near to the step that it stands for (slope annealing, Chung et al. 2017,
arXiv:1609.01704).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def binarize(logits: Tensor, slope: Tensor, thresholds: Tensor | None = None) -> Tensor:
    """-1 or 1 in place of logits [N, ...], with the gradient of 2 sigmoid(slope logit) - 1.

    Args:
        slope: a scalar, 1 or more.
        thresholds: uniform in [0, 1), of the shape of the logits, for stochastic neurons; deterministic ones if None.
    """
    probabilities = torch.sigmoid(slope * logits)
    on = probabilities > (0.5 if thresholds is None else thresholds)
    return 2 * (on.float() - probabilities.detach() + probabilities) - 1 if logits.requires_grad else 2 * on.float() - 1


def binarize_largest(logits: Tensor, slope: Tensor) -> Tensor:
    """-1 or 1 in place of logits [..., P], with 1 at the largest if it is above 0, and nowhere else.

    For voices that sing one note at a time: their neurons compete, and silence has the logit 0. The gradient is that of
    2 softmax(slope logits) - 1, with silence among them. Not from the papers.
    """
    probabilities = torch.softmax(slope * nn.functional.pad(logits, (0, 1)), dim=-1)[..., :-1]
    largest, place = logits.max(dim=-1, keepdim=True)
    on = torch.zeros_like(logits).scatter(-1, place, (largest > 0).to(logits))
    return 2 * (on - probabilities.detach() + probabilities) - 1 if logits.requires_grad else 2 * on - 1
