"""StyleGAN2. Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958.

A mapping network turns a latent z into a style w. The synthesis network starts from a learned constant. Each of its
convolutions has a style of its own, which scales the maps that it reads (section 2.2, equations 1 to 3). Noise is added
after each convolution. The images of all resolutions are summed (section 4.2, figure 7b). The discriminator is a
residual network, with the deviation over groups of samples before its last layers (figure 7c). `orig` stands for the
networks of figure 7a, without skips.

The losses are softplus losses with R1. Path length regularization (section 3.2) keeps the size of the steps in the
image that follow a step in w. It and R1 are lazy: computed every few steps, times their interval (appendix B). Style
mixing (Karras et al. 2019, arXiv:1812.04948, section 3.1) takes the styles of later layers from a second latent.
Truncation (appendix B there) moves styles towards their mean `w_avg`.

The defaults are those of the "auto" configuration of StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676, appendix C)
at 64 px. Parameters and buffers have the names of its published files. The clamp of maps that these use in float16 is
left out.

Z = latent_dim, W = style_dim, K = labels, L = num_styles, R = resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import NumberedGAN
from zoo.data.images import ImageDataConfig
from zoo.device import send
from zoo.errors import InvalidValueError, shorten_repr
from zoo.nn.counter_noise import counter_noise, draw_keys
from zoo.nn.precision import use_float32
from zoo.nn.stylegan2 import (
    GAIN,
    Convolution,
    Linear,
    append_deviation,
    convert_to_rgb,
    convolve_modulated,
    make_filter,
    normalize,
    rectify,
    upsample,
)
from zoo.noise import Noise
from zoo.options import LabelOptions, StyleOptions, option
from zoo.recipe import AugmentName, OptimizerConfig, TrainConfig, within
from zoo.samples import Images
from zoo.styled import StyledGAN
from zoo.training import distributed
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase, Step

SLOW = 0.01  # learning rate of mapping networks, relative to all other layers
W_AVG_KEEP = 0.995  # share of the mean style that stays at each step
PATH_LENGTH_DECAY = 0.01  # share of the mean path length that the next batch replaces
CLASS_LAYERS = 8  # of the mapping network of classes in the discriminator
SAMPLE_KEYS = 1 << 64  # added to a seed, for the noise of its samples
PATH_STREAM = 1 << 16  # of the random directions of path lengths, above the number of any layer

LayerNoise = Literal["const", "none"] | Tensor
"""What is added to maps: each layer's constant, nothing, or random numbers of each sample. Those are given by the
samples' keys [N], of `draw_keys`."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config:
    """The sizes of the networks. A map of r x r px has `channel_base` / r channels, at most `channel_max`."""

    resolution: int = field(default=64, metadata=within(8, 1024))
    """Pixels of a side, a power of two."""
    latent_dim: int = field(default=512, metadata=within(1, 4096))
    """Numbers of a latent z."""
    style_dim: int = field(default=512, metadata=within(1, 4096))
    """Numbers of a style w."""
    labels: int = field(default=0, metadata=within(0, 1024))
    """Classes. Data with classes set it."""
    mapping_layers: int = field(default=2, metadata=within(1, 16))
    """Layers of the mapping network; 8 in the papers, 2 in the automatic configuration."""
    channel_base: int = field(default=16384, metadata=within(8, 131072))
    """Channels of a map, times its width in pixels."""
    channel_max: int = field(default=512, metadata=within(1, 1024))
    """The most channels of a map."""
    generator_architecture: Literal["skip", "orig"] = "skip"
    """`skip` sums images of all resolutions; `orig` makes one from the last maps."""
    discriminator_architecture: Literal["resnet", "orig"] = "resnet"
    """`resnet` has residual blocks; `orig` has plain ones."""
    noise: bool = True
    """Whether noise is added after each convolution of the generator."""
    deviation_group: int = field(default=4, metadata=within(1, 1024))
    """The most samples in a group whose deviation the discriminator sees."""

    def __post_init__(self) -> None:
        if self.resolution & (self.resolution - 1):
            raise InvalidValueError(f"model.resolution = {self.resolution} should be a power of two")

    def channels(self, resolution: int) -> int:
        """Return the channels of a map of this resolution."""
        return max(1, min(self.channel_base // resolution, self.channel_max))

    @property
    def resolutions(self) -> list[int]:
        """The resolutions of the maps: 4, 8, ..., R."""
        return [1 << i for i in range(2, self.resolution.bit_length())]

    @property
    def num_styles(self) -> int:
        """The number L of styles that an image is made of: one for each convolution, and one for the last image."""
        return 2 * len(self.resolutions)


class Mapping(nn.Module):
    """Latents [N, Z + K], whose last columns are the class -> styles [N, W]. Z or K may be 0, but not both."""

    def __init__(self, latent_dim: int, labels: int, outputs: int, layers: int) -> None:
        super().__init__()
        self.latent_dim, self.num_layers = latent_dim, layers
        self.embed = Linear(labels, outputs) if labels else None
        inputs = latent_dim + (outputs if labels else 0)
        for i in range(layers):
            self.add_module(f"fc{i}", Linear(inputs if i == 0 else outputs, outputs, rate=SLOW))

    def forward(self, latents: Tensor) -> Tensor:
        parts = [normalize(latents[:, : self.latent_dim])] if self.latent_dim else []
        if self.embed is not None:
            parts.append(normalize(self.embed(latents[:, self.latent_dim :])))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = rectify(self.get_submodule(f"fc{i}")(x, GAIN))
        return x


class StyleMapping(Mapping):
    """The mapping network of the generator, which knows the mean of its styles."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config.latent_dim, config.labels, config.style_dim, config.mapping_layers)
        self.register_buffer("w_avg", torch.zeros(config.style_dim))

    @torch.no_grad()
    def update_mean(self, styles: Tensor) -> None:
        """Move the mean towards that of the styles [N, W] of a training batch."""
        self.w_avg.lerp_(styles.float().mean(0), 1 - W_AVG_KEEP)


class SynthesisLayer(nn.Module):
    """Maps [N, inputs, r, r] and styles [N, W] -> [N, outputs, r or 2r, .]."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, config: StyleGAN2Config, *, resolution: int, index: int) -> None:
        super().__init__()
        self.resolution, self.index = resolution, index  # of the outputs; of the layer, from 0
        self.affine = Linear(config.style_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", make_filter())
        if config.noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.has_noise, self.up = config.noise, index % 2 == 1

    def forward(self, x: Tensor, styles: Tensor, noise: LayerNoise) -> Tensor:
        offset = self.bias[:, None, None]
        if self.has_noise and not (isinstance(noise, str) and noise == "none"):
            numbers = self.noise_const  # [r, r]
            if isinstance(noise, Tensor):  # [N, 1, r, r]
                numbers = counter_noise(noise, 1, self.resolution, self.resolution, stream=self.index)
            offset = offset + numbers * self.noise_strength
        up = self.resample_filter if self.up else None
        return rectify(convolve_modulated(x, self.weight, self.affine(styles), offset, up=up, gain=GAIN))


class ToRGB(nn.Module):
    """Maps [N, C, r, r] and styles [N, W] -> images [N, 3, r, r]; a modulated convolution without demodulation."""

    def __init__(self, inputs: int, config: StyleGAN2Config) -> None:
        super().__init__()
        self.affine = Linear(config.style_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        return convert_to_rgb(x, self.weight, self.affine(styles), self.bias)


class SynthesisBlock(nn.Module):
    """Maps and the image of half the resolution -> maps [N, C, r, r] and the image [N, 3, r, r].

    The block of 4 x 4 px takes its learned constant instead of maps.
    """

    resample_filter: Tensor

    def __init__(self, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        channels, self.resolution = config.channels(resolution), resolution
        self.first = 2 * config.resolutions.index(resolution)  # style
        self.register_buffer("resample_filter", make_filter())
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            before = config.channels(resolution // 2)
            self.conv0 = SynthesisLayer(before, channels, config, resolution=resolution, index=self.first - 1)
        self.conv1 = SynthesisLayer(channels, channels, config, resolution=resolution, index=self.first)
        has_image = config.generator_architecture == "skip" or resolution == config.resolution
        self.torgb = ToRGB(channels, config) if has_image else None

    def forward(
        self, x: Tensor | None, image: Tensor | None, styles: Tensor, noise: LayerNoise
    ) -> tuple[Tensor, Tensor | None]:
        x = (
            self.const.expand(styles.shape[0], -1, -1, -1)
            if x is None
            else self.conv0(x, styles[:, self.first - 1], noise)
        )
        x = self.conv1(x, styles[:, self.first], noise)
        if self.torgb is None:
            return x, None
        with use_float32(x.device):
            new = self.torgb(x, styles[:, self.first + 1])
            return x, new if image is None else upsample(image, self.resample_filter) + new


class Synthesis(nn.Module):
    """Styles [N, L, W] -> images [N, 3, R, R], around [-1, 1]."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.resolutions = config.resolutions
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(resolution, config))

    @property
    def blocks(self) -> list[SynthesisBlock]:
        return [self.get_submodule(f"b{resolution}") for resolution in self.resolutions]  # type: ignore[misc]

    def forward(self, styles: Tensor, noise: LayerNoise = "const") -> Tensor:
        x = image = None
        for block in self.blocks:
            x, image = block(x, image, styles, noise)
        assert image is not None  # the last block makes one
        return image


class Generator(nn.Module):
    """Latents [N, Z + K] -> images [N, 3, R, R], in [-1, 1] in evaluation mode."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.num_styles, self.style_dim = config.num_styles, config.style_dim
        self.mapping = StyleMapping(config)
        self.synthesis = Synthesis(config)

    def make_styles(self, latents: Tensor, others: Tensor | None = None, crossover: Tensor | None = None) -> Tensor:
        """Map latents to styles [N, L, W], and learn their mean in training mode.

        With the latents of `others`, each sample takes its styles from number `crossover` [N] on from those.
        """
        styles = self.mapping(latents)
        if self.training:
            self.mapping.update_mean(styles)
        styles = styles[:, None].expand(-1, self.num_styles, -1)
        if others is None or crossover is None:
            return styles
        mixed = torch.arange(self.num_styles, device=crossover.device) >= crossover[:, None]  # [N, L]
        return torch.where(mixed[..., None], self.mapping(others)[:, None], styles)

    def forward(
        self,
        latents: Tensor,
        *,
        noise: LayerNoise = "const",
        others: Tensor | None = None,
        crossover: Tensor | None = None,
        styles: Tensor | None = None,
    ) -> Tensor:
        """With `styles` [N, 1 or L, W], the latents are not read."""
        if styles is None:
            styles = self.make_styles(latents, others, crossover)
        styles = styles.to(self.mapping.w_avg.dtype).expand(-1, self.num_styles, -1)
        images = self.synthesis(styles, noise)
        return images if self.training else images.clamp(-1, 1)


class DiscriminatorBlock(nn.Module):
    """Maps [N, C, r, r] -> [N, D, r / 2, r / 2]. The first block takes images."""

    resample_filter: Tensor

    def __init__(self, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        channels, after = config.channels(resolution), config.channels(resolution // 2)
        self.register_buffer("resample_filter", make_filter())
        first, residual = resolution == config.resolution, config.discriminator_architecture == "resnet"
        self.fromrgb = Convolution(3, channels, 1, save_filter=True) if first else None
        self.conv0 = Convolution(channels, channels, 3, save_filter=True)
        self.conv1 = Convolution(channels, after, 3, down=True, save_filter=True)
        self.skip = Convolution(channels, after, 1, down=True, bias=False, save_filter=True) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = rectify(self.fromrgb(x, GAIN))
        y = rectify(self.conv0(x, GAIN))
        if self.skip is None:
            return rectify(self.conv1(y, GAIN))
        return rectify(self.conv1(y)) + self.skip(x, math.sqrt(0.5))  # the sum has half the variance of the two


class Epilogue(nn.Module):
    """Maps [N, C, 4, 4] -> logits [N], or features [N, C] where there are classes."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        channels, self.group = config.channels(4), config.deviation_group
        self.conv = Convolution(channels + 1, channels, 3, save_filter=True)
        self.fc = Linear(16 * channels, channels)
        self.out = Linear(channels, channels if config.labels else 1)

    def forward(self, x: Tensor) -> Tensor:
        x = rectify(self.conv(append_deviation(x, self.group), GAIN))
        outputs = self.out(rectify(self.fc(x.flatten(1), GAIN)))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


class Discriminator(nn.Module):
    """Images [N, 3, R, R], and their classes [N] if there are any -> logits [N].

    With classes, a logit is a projection on the embedding of the class (Miyato & Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.labels, self.resolutions = config.labels, config.resolutions[:0:-1]  # R, R / 2, ..., 8
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", DiscriminatorBlock(resolution, config))
        self.b4 = Epilogue(config)
        self.mapping = Mapping(0, config.labels, config.channels(4), CLASS_LAYERS) if config.labels else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = images
        for resolution in self.resolutions:
            x = self.get_submodule(f"b{resolution}")(x)
        scores = self.b4(x)
        if self.mapping is None:
            return scores
        if labels is None:
            raise InvalidValueError(f"this discriminator knows {self.labels} classes: give it those of the images")
        return (scores * self.mapping(F.one_hot(labels, self.labels).to(scores))).sum(1) * scores.shape[1] ** -0.5


@dataclass(frozen=True, kw_only=True)
class StyleGAN2TrainConfig(TrainConfig):
    """The settings of the automatic configuration at 64 px.

    A lazy penalty every k steps adds a step to k others. So the learning rate is times k / (k + 1), and the betas are
    to that power.
    """

    batch: int = field(default=32, metadata=within(2, 65536))
    """Real samples a step, over all processes together."""
    generator: OptimizerConfig = OptimizerConfig(lr=2.5e-3 * 4 / 5, betas=(0.0, 0.99 ** (4 / 5)))
    """The generator's optimizer, for path lengths every 4 steps."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=2.5e-3 * 16 / 17, betas=(0.0, 0.99 ** (16 / 17)))
    """The discriminator's optimizer, for R1 every 16 steps."""
    r1_gamma: float = field(default=0.0256, metadata=within(0))
    """Strength of the R1 penalty: 0.0002 R^2 / batch."""
    augment: tuple[AugmentName, ...] = ("ada",)
    """What the discriminator sees changed: the policies of DiffAugment, or `ada`."""
    ema_halflife_kimg: float = field(default=10.0, metadata=within(0))
    """Half-life of a weight in the moving average of the generator, which is sampled. 0: no average."""
    style_mixing: float = field(default=0.9, metadata=within(0, 1))
    """The share of generated images that take the styles of later layers from a second latent."""
    path_length_weight: float = field(default=2.0, metadata=within(0))
    """Weight of path length regularization. 0: none."""
    path_length_interval: int = field(default=4, metadata=within(1))
    """Steps between two penalties on path lengths; each is multiplied by this number."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Options(StyleOptions, LabelOptions):
    """Options of StyleGAN2."""

    noise: str = option("const", help="Of single layers: const is the same in all samples, random differs, or none.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise not in ("const", "random", "none"):
            raise InvalidValueError(f"noise = {shorten_repr(self.noise)} should be const, random or none")


class PathLength(nn.Module):
    """The running mean of path lengths."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def penalize(self, lengths: Tensor) -> Tensor:
        """Update the mean with lengths [N] of all processes, and return their mean squared distance from it."""
        mean = lengths.detach().mean()
        distributed.add_up(mean)  # processes share a mean, as they share weights
        self.mean.lerp_(mean / distributed.world_size(), PATH_LENGTH_DECAY)
        return (lengths - self.mean).square().mean()


def measure_path_lengths(images: Tensor, styles: Tensor, directions: Tensor) -> Tensor:
    """Compute path lengths [N]: |J^T y| for images [N, 3, R, R], their styles [N, L, W] and directions y.

    `directions` are [N, 3, R, R] from N(0, 1) / R. The length is the root of the mean over the L styles of squares.
    """
    (gradient,) = torch.autograd.grad((images * directions).sum(), styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


class StyleGAN2(StyledGAN[Images], NumberedGAN[Images]):
    """Latent [N, 512] ~ N(0, I) -> image [N, 3, 64, 64] in [-1, 1]; the defaults have 22,243,608 + 23,407,361
    parameters.

    Classes have numbers and no names, as in published files.
    """

    Config = StyleGAN2Config
    DataConfig = ImageDataConfig
    TrainConfig = StyleGAN2TrainConfig
    SampleOptions = StyleGAN2Options
    COPIED_BUFFERS = ("w_avg",)
    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, self.config.resolution, self.config.resolution)

    def prepare_sampling(self, n: int, seed: int, options: StyleGAN2Options) -> tuple[Tensor, dict[str, Any]]:
        latents, arguments = super().prepare_sampling(n, seed, options)
        if options.noise == "random" and not self.config.noise:
            raise InvalidValueError('noise = "random": this model has no noise; leave it out')
        noise = draw_keys(n, Noise(seed + SAMPLE_KEYS)) if options.noise == "random" else options.noise
        return latents, arguments | {"noise": noise}

    @property
    def sample_options(self) -> tuple[str, ...]:
        return tuple(name for name in super().sample_options if name != "noise" or self.config.noise)

    @property
    def mean_style(self) -> Tensor:
        return self.generator.mapping.w_avg

    def style_matrices(self) -> list[tuple[int, Tensor]]:
        found: list[tuple[int, Tensor]] = []
        for block in self.generator.synthesis.blocks:
            if block.resolution > 4:
                found.append((block.first - 1, block.conv0.affine.weight))
            found.append((block.first, block.conv1.affine.weight))
            if block.torgb is not None:
                found.append((block.first + 1, block.torgb.affine.weight))
        return found

    def float32_modules(self) -> list[nn.Module]:
        generator, discriminator = self.generator, self.discriminator
        exact = [module for module in generator.modules() if isinstance(module, ToRGB)]
        classes = [] if discriminator.mapping is None else [discriminator.mapping]
        return [generator.mapping, *exact, discriminator.b4, *classes]

    def draw_training_noise(self, latents: Tensor, step: Step, style_mixing: float) -> dict[str, Tensor]:
        """Draw what a training batch of the generator needs besides its latents, a row for each sample."""
        arguments: dict[str, Tensor] = {}
        if self.config.noise:
            arguments["noise"] = send(draw_keys(len(latents), step.noise), latents.device)
        if style_mixing:
            numbers = step.noise.uniform(len(latents), 2)
            places = 1 + (numbers[:, 0] * (self.config.num_styles - 1)).long()
            crossover = torch.where(numbers[:, 1] < style_mixing, places, self.config.num_styles)
            arguments |= {"others": step.latents(), "crossover": send(crossover, latents.device)}
        return arguments

    def phases(self, train: StyleGAN2TrainConfig) -> list[Phase]:
        """Make the phases D, its lazy R1, G, and its lazy path lengths."""
        generator, config, path_length = self.generator, self.config, PathLength().to(self.device)

        def generate(step: Step) -> Tensor:
            return step.generate(
                lambda latents: generator(latents, **self.draw_training_noise(latents, step, train.style_mixing))
            )

        def path_length_loss(step: Step) -> dict[str, Tensor]:
            """Compute the penalty on half of a batch, uncompiled: `torch.compile` cannot differentiate twice."""
            latents = step.latents()
            drawn = self.draw_training_noise(latents, step, train.style_mixing)
            keys = send(draw_keys(len(latents), step.noise), latents.device)
            half = slice(0, max(1, len(latents) // 2))
            drawn = {name: rows[half] for name, rows in drawn.items()}
            with use_float32(latents.device):
                styles = generator.make_styles(latents[half], drawn.get("others"), drawn.get("crossover"))
                images = generator.synthesis(styles, drawn.get("noise", "none"))
                directions = counter_noise(keys[half], *images.shape[1:], stream=PATH_STREAM) / config.resolution
                penalty = path_length.penalize(measure_path_lengths(images, styles, directions))
            weight = train.path_length_weight * train.path_length_interval
            return {"loss": weight * penalty, "path_length_penalty": penalty}

        phases = adversarial_phases(self, train, generate=generate)
        if train.path_length_weight:
            phases.append(
                Phase(
                    name="G-path",
                    module=generator,
                    loss=path_length_loss,
                    optimizer=phases[-1].optimizer,
                    interval=train.generator_interval * train.path_length_interval,
                    extra_state=path_length,
                )
            )
        return phases
