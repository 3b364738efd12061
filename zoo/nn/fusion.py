"""Norms fused for sampling: batch norm into the layer before it, weight norm into the weight. The outputs are equal."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fuse_norms(module: nn.Module) -> nn.Module:
    """Copy `module` in evaluation mode, and fuse each batch norm of an `nn.Sequential` into the layer before it.

    In evaluation mode a batch norm is an affine map per channel, so it can become part of that layer's weight and bias.
    A weight that is computed from others, as by weight norm, is computed once and kept.
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for layer in [m for m in module.modules() if parametrize.is_parametrized(m)]:
        _compute_weights(layer)
    for sequential in [m for m in module.modules() if isinstance(m, nn.Sequential)]:
        layers = list(sequential)
        for i, (layer, norm) in enumerate(pairwise(layers)):
            if isinstance(norm, _BatchNorm) and _fuse(layer, norm):
                sequential[i + 1] = nn.Identity()
    return module


def _compute_weights(layer: nn.Module) -> None:
    """Replace parametrized weights by their present values.

    Torch's `remove_parametrizations` would take the weight from the layer's class, which the original shares.
    """
    weights = {name: getattr(layer, name).detach().clone() for name in layer.parametrizations}  # type: ignore[union-attr]
    layer.__class__ = type(layer).__bases__[0]
    del layer.parametrizations
    for name, weight in weights.items():
        layer.register_parameter(name, nn.Parameter(weight, requires_grad=False))


def _fuse(layer: nn.Module, norm: _BatchNorm) -> bool:
    """Fuse a batch norm into the layer before it; return False where that is not possible."""
    if norm.running_mean is None or norm.running_var is None:
        return False  # it normalizes by the statistics of each batch, in evaluation mode too
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    if isinstance(layer, _CONVOLUTIONS + _TRANSPOSED):
        if layer.groups != 1:
            return False
        transposed = isinstance(layer, _TRANSPOSED)
        layer.weight, layer.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, transpose=transposed)
        return True
    if isinstance(layer, nn.Linear):
        layer.weight, layer.bias = fuse_linear_bn_weights(layer.weight, layer.bias, *statistics)
        return True
    return False
