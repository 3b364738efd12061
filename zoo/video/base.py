"""What the GANs of clips share: the sizes of a clip, how samples come out, and clips longer than those of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.errors import BadValue
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import within
from zoo.samples import Samples
from zoo.video.data import ClipData
from zoo.video.samples import Clips

FRAMES_AT_ONCE = 128  # of 64 px or less, generated together, however large the batch asked for: bounds the memory
BEYOND = 1 << 64  # what is added to a seed, once a clip, for the noise of its frames beyond a clip of the data


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Clips of `frames` square frames; `rate` is how many of them a second samples are shown and saved with."""

    resolution: int = field(default=64, metadata=within(8, 256))
    frames: int = field(default=16, metadata=within(2, 256))
    rate: float = field(default=12.5, metadata=within(0.1, 240))

    def __post_init__(self) -> None:
        if self.resolution & (self.resolution - 1):
            raise BadValue(f"model.resolution = {self.resolution} should be a power of two")


def as_clips(frames: Tensor, n: int) -> Tensor:
    """[N * T, 3, H, W] -> [N, 3, T, H, W]; no copy where channels are last in memory."""
    return frames.unflatten(0, (n, -1)).transpose(1, 2)


def frames_at_once(resolution: int) -> int:
    """How many frames of this size are generated together: fewer of large ones."""
    return max(1, min(FRAMES_AT_ONCE, FRAMES_AT_ONCE * 64**2 // resolution**2))


def as_frames(clips: Tensor) -> Tensor:
    """[N, C, T, H, W] -> [N * T, C, H, W]; no copy where channels are last in memory."""
    return clips.transpose(1, 2).flatten(0, 1)


class ClipGAN(GAN):
    """A GAN of clips [N, 3, T, H, W] in [-1, 1]."""

    Data = ClipData
    Output: ClassVar[type[Samples]] = Clips

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        return (3, self.config.frames, self.config.resolution, self.config.resolution)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Clips:
        return Clips(tensor=tensor, latents=latents, seed=seed, rate=self.config.rate)

    def length_of(self, latents: Tensor) -> int:
        """The frames of the clips that the generator makes of `latents`."""
        return self.config.frames

    def _generate(
        self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **options: Any
    ) -> Tensor:
        at_once = max(1, frames_at_once(self.config.resolution) // self.length_of(latents))
        return super()._generate(latents, min(batch_size, at_once), progress, **options)


class LongClipGAN(ClipGAN):
    """A GAN of clips whose generator goes on for as long as it is given noise."""

    def lengthened(self, latents: Tensor, frames: int, seed: int) -> Tensor:
        """`latents` of clips of the data's length -> those of clips of `frames` frames, which begin alike."""
        raise NotImplementedError

    def beyond(self, n: int, width: int, seed: int) -> Tensor:
        """[n, width] from N(0, I), each row of a stream of its own, so that a wider one begins alike."""
        return torch.cat([Noise(seed + BEYOND * (i + 1)).normal(1, width) for i in range(n)])

    def options_for(self, frames: int) -> dict[str, Any]:
        """What the generator has to be told to make `frames` frames, beside latents that are enough for them."""
        return {}

    @torch.no_grad()
    def sample(
        self,
        n: int = 16,
        *,
        seed: int | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        frames: int | None = None,
    ) -> Samples:
        """As `GAN.sample`; clips of `frames` frames, which may be more than it was trained on and begin alike.

        Raises BadValue for n, seed, batch_size or frames out of range.
        """
        seed = self._checked(n, seed)
        return self._drawn(self.latents(n, Noise(seed)), seed, batch_size, progress, frames)

    def _drawn(
        self,
        latents: Tensor,
        seed: int,
        batch_size: int,
        progress: Callable[[int], None] | None,
        frames: int | None,
    ) -> Samples:
        if frames is not None:
            if frames < 1:
                raise BadValue(f"frames = {frames} should be at least 1")
            latents = self.lengthened(latents, frames, seed)
        options = {} if frames is None else self.options_for(frames)
        return self.output(self._generate(latents, batch_size, progress, **options), latents, seed)
