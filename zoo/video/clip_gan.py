"""What the GANs of clips share: sizes, samples, and clips longer than those of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.gan import GAN, choose_seed
from zoo.nn.fusion import fuse_norms
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.options import FrameOptions
from zoo.recipe import within
from zoo.samples import Samples
from zoo.video.data.datasets import ClipDataConfig
from zoo.video.samples import Clips

FRAMES_AT_ONCE = 128  # frames of at most 64 px that are generated together, whatever the batch size: limits the memory
MORE_NOISE = 1 << 64  # added to a seed, once per clip, for the noise of frames beyond the length of the data's clips


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Sizes of clips of square frames."""

    resolution: int = field(default=64, metadata=within(8, 256))
    """Height and width of a frame, a power of two."""
    frames: int = field(default=16, metadata=within(2, 256))
    """Frames of a clip."""
    rate: float = field(default=12.5, metadata=within(0.1, 240))
    """Frames per second with which samples are shown and saved."""

    def __post_init__(self) -> None:
        if self.resolution & (self.resolution - 1):
            raise InvalidValueError(f"model.resolution = {self.resolution} should be a power of two")


def as_clips(frames: Tensor, n: int) -> Tensor:
    """Reshape frames [N * T, 3, H, W] to clips [N, 3, T, H, W]; no copy where channels are last in memory."""
    return frames.unflatten(0, (n, -1)).transpose(1, 2)


def frames_at_once(resolution: int) -> int:
    """Compute how many frames of this size are generated together: fewer of large ones."""
    return max(1, min(FRAMES_AT_ONCE, FRAMES_AT_ONCE * 64**2 // resolution**2))


def as_frames(clips: Tensor) -> Tensor:
    """Reshape clips [N, C, T, H, W] to frames [N * T, C, H, W]; no copy where channels are last in memory."""
    return clips.transpose(1, 2).flatten(0, 1)


class ClipGAN(GAN[Clips]):
    """A GAN of clips [N, 3, T, H, W] in [-1, 1]."""

    DataConfig = ClipDataConfig
    Output: ClassVar[type[Samples]] = Clips

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        return (3, self.config.frames, self.config.resolution, self.config.resolution)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Clips:
        return Clips(tensor=tensor, latents=latents, seed=seed, rate=self.config.rate)

    def length_of(self, latents: Tensor) -> int:
        """Return the number of frames of the clips that the generator makes from `latents`."""
        return self.config.frames

    def _generate(
        self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **options: Any
    ) -> Tensor:
        at_once = max(1, frames_at_once(self.config.resolution) // self.length_of(latents))
        return super()._generate(latents, min(batch_size, at_once), progress, **options)


class LongClipGAN(ClipGAN):
    """A GAN of clips whose generator can continue a clip for as long as it gets noise."""

    SampleOptions = FrameOptions

    def extend_latents(self, latents: Tensor, frames: int, seed: int) -> Tensor:
        """Turn `latents` of clips of the data's length into those of clips of `frames` frames that start alike."""
        raise NotImplementedError

    def more_noise(self, n: int, width: int, seed: int) -> Tensor:
        """Draw [n, width] from N(0, I), each row from a stream of its own, so that a wider row starts alike."""
        return torch.cat([Noise(seed + MORE_NOISE * (i + 1)).normal(1, width) for i in range(n)])

    def stream_clip(self, *, seed: int | None = None, **options: Any) -> Iterator[Clips]:
        """Generate the first clip of `sample` in pieces that follow one another, so that the memory does not grow.

        Raises as `sample`.
        """
        chosen = self.SampleOptions.read(options, type(self).__name__)
        return self._stream_clip(choose_seed(seed), chosen)

    @torch.no_grad()
    def _stream_clip(self, seed: int, options: Any) -> Iterator[Clips]:
        latents, arguments = self.prepare_sampling(1, seed, options)
        generator: Any = channels_last(fuse_norms(self.generator))
        weight = next(generator.parameters())
        given = self.resolve_arguments(latents, arguments)
        for piece in generator.make_pieces(latents.to(weight), **given):
            yield replace(self.output(piece.float().cpu(), latents, seed), source=self.name)

    def generator_arguments(self, frames: int) -> dict[str, Any]:
        """Return what the generator needs, besides long enough latents, to make `frames` frames."""
        return {}

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        latents, arguments = super().prepare_sampling(n, seed, options)
        if options.frames is None:
            return latents, arguments
        return self.extend_latents(latents, options.frames, seed), self.generator_arguments(options.frames)
