"""Discriminators of waves that more than one vocoder has. Each returns the features of its layers, the scores last."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.music.mel import hann_window
from zoo.nn.precision import use_float32

SLOPE = 0.1  # of the LeakyReLUs


class PeriodDiscriminator(nn.Module):
    """A discriminator of every p-th sample: wave [N, 1, T] -> features; the last are scores [N, 1, T', p].

    The samples are the rows of a picture with p columns.
    """

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 4 * width, 16 * width, 32 * width, 32 * width]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (1 if i == 4 else 3, 1), (2, 0)))
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.conv_post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        missing = -wave.shape[-1] % self.period
        x = F.pad(wave, (0, missing), mode="reflect").unflatten(-1, (-1, self.period))  # [N, 1, T / p, p]
        return compute_layers(x, self.convs, self.conv_post)


class ScaleDiscriminator(nn.Module):
    """A discriminator of waves [N, 1, T] -> features of each layer; the last are scores [N, 1, T']."""

    def __init__(self, width: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        layers = [  # channels before and after, kernel, stride, groups
            (1, width, 15, 1, 1),
            (width, width, 41, 2, 4),
            (width, 2 * width, 41, 2, 16),
            (2 * width, 4 * width, 41, 4, 16),
            (4 * width, 8 * width, 41, 4, 16),
            (8 * width, 8 * width, 41, 1, 16),
            (8 * width, 8 * width, 5, 1, 1),
        ]
        self.convs = nn.ModuleList(
            norm(nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, groups=groups))
            for before, after, kernel, stride, groups in layers
        )
        self.conv_post = norm(nn.Conv1d(8 * width, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> list[Tensor]:
        return compute_layers(wave, self.convs, self.conv_post)


def compute_layers(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> list[Tensor]:
    """Compute the features of each layer; those of the last one are scores."""
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        features.append(x)
    return [*features, last(x)]


def average_scores(features: list[list[Tensor]]) -> Tensor:
    """Average the scores of all discriminators [N]."""
    return torch.stack([layers[-1].flatten(1).mean(1) for layers in features]).mean(0)


def feature_distance(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Compute equation 5: mean absolute differences of the features, summed over layers and discriminators."""
    pairs = [pair for layers in zip(real, fake, strict=True) for pair in zip(*layers, strict=True)]
    return torch.stack([F.l1_loss(b, a) for a, b in pairs]).sum()


class ResolutionDiscriminator(nn.Module):
    """A discriminator of complex spectra of one resolution: wave [N, 1, T] -> features; the last are scores.

    Kumar et al. 2023, arXiv:2306.06546, section 3.3: each band of frequencies has layers of its own. The features of
    the first layers are not among the result.
    """

    BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # edges, as shares of the frequencies
    PEAK = 0.8  # that a wave is scaled to

    def __init__(self, fft: int, width: int) -> None:
        super().__init__()
        self.fft = fft
        bins = fft // 2 + 1
        edges = [int(edge * bins) for edge in self.BANDS]
        self.sizes = [after - before for before, after in pairwise(edges)]
        self.band_convs = nn.ModuleList(self._make_layers(width) for _ in self.sizes)
        self.conv_post = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    @staticmethod
    def _make_layers(width: int) -> nn.ModuleList:
        layers = [  # channels before, kernel, stride over frequencies
            (2, (3, 9), 1),
            (width, (3, 9), 2),
            (width, (3, 9), 2),
            (width, (3, 9), 2),
            (width, (3, 3), 1),
        ]
        return nn.ModuleList(
            weight_norm(nn.Conv2d(before, width, kernel, (1, stride), (1, kernel[1] // 2)))
            for before, kernel, stride in layers
        )

    def forward(self, wave: Tensor) -> list[Tensor]:
        x = compute_spectrum(wave, self.fft, self.fft // 4, self.PEAK)  # [N, 2, frames, fft / 2 + 1]
        features, ends = [], []
        for band, convs in zip(x.split(self.sizes, dim=-1), self.band_convs, strict=True):
            for i, conv in enumerate(convs):
                band = F.leaky_relu(conv(band), SLOPE)
                if i:
                    features.append(band)
            ends.append(band)
        return [*features, self.conv_post(torch.cat(ends, dim=-1))]


def compute_spectrum(wave: Tensor, fft: int, hop: int, peak: float) -> Tensor:
    """Compute real and imaginary parts [N, 2, frames, fft // 2 + 1] of waves [N, 1, T] without offset, of one peak."""
    with use_float32(wave.device):
        x = wave.squeeze(1).float()
        x = x - x.mean(dim=-1, keepdim=True)
        x = peak * x / (x.abs().amax(dim=-1, keepdim=True) + 1e-9)
        spectrum = torch.stft(x, fft, hop, window=hann_window(fft, x.device), return_complex=True)
        return torch.view_as_real(spectrum).permute(0, 3, 2, 1)
