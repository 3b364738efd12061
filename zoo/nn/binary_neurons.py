"""Binary neurons: units whose output is 0 or 1 and whose gradient is that of a probability.

Dong & Yang 2018, "Convolutional Generative Adversarial Networks with Binary Neurons for Polyphonic Music Generation",
arXiv:1804.09399, section 3.3. A deterministic neuron rounds its probability; a stochastic one is sampled with it.
Both use the gradient of the probability (the sigmoid-adjusted straight-through estimator). The slope of the sigmoid
grows during the training, so that the probability approaches the step function (slope annealing, Chung et al. 2017,
arXiv:1609.01704).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def binarize(logits: Tensor, slope: Tensor, thresholds: Tensor | None = None) -> Tensor:
    """Round logits [N, ...] to -1 or 1, with the gradient of 2 sigmoid(slope logit) - 1.

    Args:
        slope: a scalar, 1 or more.
        thresholds: of stochastic neurons, uniform in [0, 1), shaped as the logits; None for deterministic neurons.
    """
    probabilities = torch.sigmoid(slope * logits)
    on = probabilities > (0.5 if thresholds is None else thresholds)
    return 2 * (on.float() - probabilities.detach() + probabilities) - 1 if logits.requires_grad else 2 * on.float() - 1


def binarize_largest(logits: Tensor, slope: Tensor) -> Tensor:
    """Round logits [..., P] to -1, but the largest to 1 if it is above 0.

    For voices that sing one note at a time: their neurons compete, and silence has the logit 0. The gradient is that of
    2 softmax(slope logits) - 1, where the logits include silence. This is not from the papers.
    """
    probabilities = torch.softmax(slope * nn.functional.pad(logits, (0, 1)), dim=-1)[..., :-1]
    largest, index = logits.max(dim=-1, keepdim=True)
    on = torch.zeros_like(logits).scatter(-1, index, (largest > 0).to(logits))
    return 2 * (on - probabilities.detach() + probabilities) - 1 if logits.requires_grad else 2 * on - 1
