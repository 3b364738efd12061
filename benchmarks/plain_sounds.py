"""Sounds made plainly: what benchmarks/textbook.py times this library against."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.convert.hifigan import build_vocoder
from zoo.music.architectures.hifigan import V2, HiFiGAN, HiFiGANConfig
from zoo.music.architectures.wavegan import WaveGAN

FRAMES = 256  # of the spectrogram that vocoders are given: 3 s


def make_plain_wavegan(gan: WaveGAN) -> nn.Module:
    """Make the generator as the paper's equations read: its filter is a convolution of 512 taps."""

    generator: Any = gan.generator

    class Plain(nn.Module):
        def forward(self, latents: Tensor) -> Tensor:
            wave = generator.main(generator.enter(latents).unflatten(1, (-1, 16)))
            taps = generator.filter.weight.shape[-1]
            return F.conv1d(F.pad(wave, ((taps - 1) // 2, taps // 2)), generator.filter.weight)

    return Plain()


def make_vocoders() -> tuple[Any, HiFiGAN, Tensor]:
    """Make the V2 of `transformers.SpeechT5HifiGan`, our vocoder of its weights, and a spectrogram [1, 80, 256]."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(0)
    config = HiFiGANConfig(**V2)  # type: ignore[arg-type]
    theirs = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            upsample_initial_channel=config.width,
            upsample_rates=list(config.ups),
            upsample_kernel_sizes=list(config.up_kernels),
        )
    ).eval()
    ours = build_vocoder(theirs.state_dict(), {"rate": config.rate}, where="SpeechT5HifiGan")
    return theirs, ours, torch.randn(1, config.mels, FRAMES)
