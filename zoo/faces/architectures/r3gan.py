"""R3GAN. Huang, Gokaslan, Kuleshov & Tompkin 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN",
arXiv:2501.05441.

The loss is relativistic (section 2.1): the discriminator compares each fake with a real image. Gradient penalties on
real images, R1, and on fake ones, R2, make the training converge (section 2.2). They are part of each step of the
discriminator, on the pixels before any augmentation. With `train.r1_interval` above 1 they are lazy: a phase of their
own, times the interval, as R1 of StyleGAN2.

With this loss the networks need no tricks (section 3). They have no norm, no noise and no styles, and a residual block
is that of ResNeXt, inverted: a 1 x 1 convolution to twice the channels, a grouped 3 x 3 convolution, and a 1 x 1
convolution back, which starts from zero (Zhang, Dauphin & Ma 2019, arXiv:1901.09321). The generator starts from a
learned basis of 4 x 4 maps, which a linear layer of the latent weighs; the discriminator ends in the mirror image of
that. Maps are resized with the binomial filter of StyleGAN2.

Learning rates, beta2, gamma, the half-life of the average and the probability of augmentation move along half a cosine:
`train.schedule`. The defaults are the authors' for FFHQ at 64 px. Parameters and buffers have the names of published
files.

Z = latent_dim, K = labels, R = resolution, C = channels of a map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import NumberedGAN
from zoo.data.images import ImageDataConfig
from zoo.errors import InvalidValueError
from zoo.nn.stylegan2 import blur, make_filter, upsample
from zoo.recipe import (
    ADAConfig,
    AugmentName,
    LossName,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    check_unused,
    within,
)
from zoo.samples import Images
from zoo.training.augment import Augmentation
from zoo.training.losses import LOSSES, Penalties
from zoo.training.phases import Phase, Step, make_optimizer

SLOPE = 0.2  # of the leaky rectifiers
EXPANSION = 2  # times as many channels inside a residual block
GROUP = 16  # channels of each group of a grouped convolution
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky rectifier (He et al. 2015, arXiv:1502.01852)
MOST_SIZES = 9  # of maps: from 4 to 1024 px


@dataclass(frozen=True, kw_only=True)
class R3GANConfig:
    """The sizes of both networks. They have maps of 4 x 4, 8 x 8, ... px, the last as large as an image."""

    latent_dim: int = field(default=64, metadata=within(1, 4096))
    """Numbers of a latent."""
    labels: int = field(default=0, metadata=within(0, 1024))
    """Classes. Data with classes set it."""
    widths: tuple[int, ...] = field(default=(768, 768, 768, 768, 384), metadata=within(8, 4096, items=MOST_SIZES))
    """Channels of the maps of each size, from 4 x 4 px on: multiples of 8. Their number sets the size of images: five
    make 64 x 64 px."""
    blocks: tuple[int, ...] = field(default=(2, 2, 2, 2, 2), metadata=within(1, 16, items=MOST_SIZES))
    """Residual blocks at each size, from 4 x 4 px on."""

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or len(self.blocks) != len(self.widths):
            raise InvalidValueError(
                f"model.widths has {len(self.widths)} values and model.blocks {len(self.blocks)}: give each one for "
                "4 x 4 px, one for 8 x 8 px, and so on up to the size of the images"
            )
        for width in self.widths:
            if width * EXPANSION % GROUP:
                raise InvalidValueError(f"model.widths = {width} should be a multiple of {GROUP // EXPANSION}")

    @property
    def resolution(self) -> int:
        """Pixels of a side, R."""
        return 4 << (len(self.widths) - 1)


def scale_weights(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> None:
    """Draw the weights of a layer from N(0, gain^2 / inputs)."""
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)


class Convolution(nn.Module):
    """A convolution, with the bias [outputs] that it is given, if any: [N, inputs, r, r] -> [N, outputs, r, r]."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.Layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        scale_weights(self.Layer, gain)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        layer = self.Layer
        if layer.kernel_size == (1, 1):  # on a CPU, convolutions of 1 x 1 leave channels last, and the next one pays
            return F.linear(x.permute(0, 2, 3, 1), layer.weight.flatten(1), bias).permute(0, 3, 1, 2)
        return F.conv2d(x, layer.weight, bias, padding=layer.padding, groups=layer.groups)


class Rectifier(nn.Module):
    """A bias for each channel, which the convolution before adds, and a leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, convolution: Convolution) -> Tensor:
        return F.leaky_relu(convolution(x, self.Bias), SLOPE)


class ResidualBlock(nn.Module):
    """Maps [N, C, r, r] -> [N, C, r, r]. `depth` is the number of blocks of the network."""

    def __init__(self, channels: int, *, depth: int) -> None:
        super().__init__()
        inner, gain = channels * EXPANSION, GAIN * depth ** (-1 / 4)  # equation 3 of Fixup, for three layers a block
        self.LinearLayer1 = Convolution(channels, inner, gain=gain)
        self.NonLinearity1 = Rectifier(inner)
        self.LinearLayer2 = Convolution(inner, inner, 3, groups=inner // GROUP, gain=gain)
        self.NonLinearity2 = Rectifier(inner)
        self.LinearLayer3 = Convolution(inner, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.NonLinearity1(x, self.LinearLayer1)
        y = self.NonLinearity2(y, self.LinearLayer2)
        return x + self.LinearLayer3(y)


class Resampler(nn.Module):
    """The binomial filter, whose coefficients are part of published files."""

    Kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("Kernel", make_filter())


class Transition(nn.Module):
    """A change of the size of maps, and of their channels where those differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs != outputs:
            self.LinearLayer = Convolution(inputs, outputs)
        self.mixes = inputs != outputs
        self.Resampler = Resampler()


class Upsampling(Transition):
    """Maps [N, inputs, r, r] -> [N, outputs, 2r, 2r]."""

    def forward(self, x: Tensor) -> Tensor:
        return upsample(self.LinearLayer(x) if self.mixes else x, self.Resampler.Kernel)


class Downsampling(Transition):
    """Maps [N, inputs, r, r] -> [N, outputs, r / 2, r / 2]."""

    def forward(self, x: Tensor) -> Tensor:
        x = blur(x, self.Resampler.Kernel, padding=1, stride=2)
        return self.LinearLayer(x) if self.mixes else x


class GeneratorBasis(nn.Module):
    """Latents [N, inputs] -> maps [N, C, 4, 4]."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.Basis = nn.Parameter(torch.randn(channels, 4, 4))
        self.LinearLayer = nn.Linear(inputs, channels, bias=False)
        scale_weights(self.LinearLayer)

    def forward(self, x: Tensor) -> Tensor:
        return self.Basis * self.LinearLayer(x)[:, :, None, None]


class DiscriminatorBasis(nn.Module):
    """Maps [N, C, 4, 4] -> [N, outputs]."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.Basis = nn.Conv2d(channels, channels, 4, groups=channels, bias=False)
        self.LinearLayer = nn.Linear(channels, outputs, bias=False)
        scale_weights(self.Basis)
        scale_weights(self.LinearLayer)

    def forward(self, x: Tensor) -> Tensor:
        return self.LinearLayer(self.Basis(x).flatten(1))


class Stage(nn.Module):
    """All layers on maps of one size."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.Layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.Layers(x)


def make_embedding(labels: int, outputs: int, *, gain: float = 1.0) -> nn.Linear | None:
    """Make the layer [N, K] -> [N, outputs] that embeds classes, which are one-hot; None without classes."""
    if not labels:
        return None
    embedding = nn.Linear(labels, outputs, bias=False)
    scale_weights(embedding, gain)
    return embedding


class GeneratorNetwork(nn.Module):
    """Latents [N, Z + K], whose last columns are the class -> images [N, 3, R, R], around [-1, 1]."""

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__()
        self.latent_dim, widths, depth = config.latent_dim, config.widths, sum(config.blocks)
        self.EmbeddingLayer = make_embedding(config.labels, config.latent_dim)
        inputs = config.latent_dim * (2 if config.labels else 1)
        starts: list[nn.Module] = [GeneratorBasis(inputs, widths[0])]
        starts += [Upsampling(before, width) for before, width in pairwise(widths)]
        self.MainLayers = nn.Sequential(
            *(
                Stage(start, *(ResidualBlock(width, depth=depth) for _ in range(count)))
                for start, width, count in zip(starts, widths, config.blocks, strict=True)
            )
        )
        self.AggregationLayer = Convolution(widths[-1], 3)

    def forward(self, latents: Tensor) -> Tensor:
        if self.EmbeddingLayer is not None:
            z, labels = latents[:, : self.latent_dim], latents[:, self.latent_dim :]
            latents = torch.cat([z, self.EmbeddingLayer(labels)], dim=1)
        return self.AggregationLayer(self.MainLayers(latents))


class Generator(nn.Module):
    """Latents [N, Z + K] -> images [N, 3, R, R], in [-1, 1] in evaluation mode."""

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__()
        self.Model = GeneratorNetwork(config)

    def forward(self, latents: Tensor) -> Tensor:
        images = self.Model(latents)
        return images if self.training else images.clamp(-1, 1)


class DiscriminatorNetwork(nn.Module):
    """Images [N, 3, R, R], and their classes [N, K], one-hot, if there are any -> logits [N]."""

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__()
        widths, blocks, depth = config.widths[::-1], config.blocks[::-1], sum(config.blocks)
        last = widths[-1]
        self.ExtractionLayer = Convolution(3, widths[0])
        ends: list[nn.Module] = [Downsampling(width, after) for width, after in pairwise(widths)]
        ends.append(DiscriminatorBasis(last, last if config.labels else 1))
        self.MainLayers = nn.Sequential(
            *(
                Stage(*(ResidualBlock(width, depth=depth) for _ in range(count)), end)
                for width, count, end in zip(widths, blocks, ends, strict=True)
            )
        )
        self.EmbeddingLayer = make_embedding(config.labels, last, gain=last**-0.5)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        scores = self.MainLayers(self.ExtractionLayer(images))
        return scores.squeeze(1) if self.EmbeddingLayer is None else (scores * self.EmbeddingLayer(labels)).sum(1)


class Discriminator(nn.Module):
    """Images [N, 3, R, R], and their classes [N] if there are any -> logits [N].

    With classes, a logit is a projection on the embedding of the class (Miyato & Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__()
        self.labels = config.labels
        self.Model = DiscriminatorNetwork(config)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if not self.labels:
            return self.Model(images)
        if labels is None:
            raise InvalidValueError(f"this discriminator knows {self.labels} classes: give it those of the images")
        return self.Model(images, F.one_hot(labels, self.labels).to(images))


@dataclass(frozen=True, kw_only=True)
class R3GANTrainConfig(TrainConfig):
    """The authors' settings for FFHQ at 64 px."""

    batch: int = field(default=256, metadata=within(2, 65536))
    """Real samples a step, over all processes together."""
    loss: LossName = "relativistic"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(lr=2e-4, betas=(0.0, 0.9))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=2e-4, betas=(0.0, 0.9))
    """The discriminator's optimizer."""
    r1_gamma: float = field(default=2.0, metadata=within(0))
    """Strength of the penalties R1, on real images, and R2, on fake ones."""
    r1_interval: int = field(default=1, metadata=within(1))
    """Steps between two penalties. 1: they are part of each step of the discriminator, as in the paper. Above 1 they
    are a step of their own, multiplied by this number."""
    ema_halflife_kimg: float = field(default=0.0, metadata=within(0))
    """Half-life of a weight in the moving average of the generator, which is sampled. 0: no average."""
    ema_rampup: float = field(default=0.0, metadata=within(0, 1))
    """The half-life is at most this share of the progress so far. 0: no such limit, since the schedule has one."""
    augment: tuple[AugmentName, ...] = ("ada",)
    """What the discriminator sees changed: the policies of DiffAugment, or `ada`."""
    ada: ADAConfig = ADAConfig(target=0.0, color=0.5, cutout=1.0)
    """Settings of `ada`."""
    schedule: ScheduleConfig = ScheduleConfig(
        kimg=20_000, lr_factor=1 / 4, beta2=0.99, r1_gamma_factor=1 / 10, ema_halflife_kimg=500, ada_probability=0.3
    )
    """Settings that change during the training."""

    def __post_init__(self) -> None:
        check_unused(self, "R3GAN", "gradient_penalty")


class R3GAN(NumberedGAN[Images]):
    """Latent [N, 64] ~ N(0, I) -> image [N, 3, 64, 64] in [-1, 1]; the defaults have 22,429,824 + 22,381,440
    parameters.

    Classes have numbers and no names, as in published files.
    """

    Config = R3GANConfig
    DataConfig = ImageDataConfig
    TrainConfig = R3GANTrainConfig
    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, self.config.resolution, self.config.resolution)

    def float32_modules(self) -> list[nn.Module]:
        """Return the layers that read latents or classes, and those that return images or logits."""
        kinds = (GeneratorBasis, DiscriminatorBasis, nn.Linear)
        return [self.generator.Model.AggregationLayer, *(m for m in self.modules() if isinstance(m, kinds))]

    def phases(self, train: R3GANTrainConfig) -> list[Phase]:
        """Make the phases D with its penalties, or D and lazy penalties, and G."""
        loss, discriminator, penalties = LOSSES[train.loss], self.discriminator, Penalties.of(train, self.discriminator)
        optimizer, augment = make_optimizer(discriminator, train.discriminator), Augmentation(train, self.device)

        def discriminate(images: Tensor, step: Step) -> Tensor:
            return discriminator(augment(images, step.noise), step.labels)

        def penalty_loss(step: Step) -> dict[str, Tensor]:
            """Compute R1 and R2 in one pass: gamma / 2 of each is gamma times their mean."""
            images = torch.cat([step.real, step.fake.detach()])
            labels = None if step.labels is None else step.labels.repeat(2)
            draws = augment.draw(len(images), step.noise, images.device)
            penalty = penalties.r1(
                lambda pixels: discriminator(augment.apply_draws(pixels, draws), labels), images, step.noise
            )
            weight = train.compute_r1_gamma(step.kimg) * train.r1_interval
            return {"loss": weight * penalty, "mean_penalty": penalty}

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = discriminate(step.real, step), discriminate(step.fake.detach(), step)
            terms = {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}
            if train.r1_gamma and train.r1_interval == 1:
                penalty = penalty_loss(step)
                terms |= {**penalty, "loss": terms["loss"] + penalty["loss"]}
            return terms | augment.observe(real)

        def generator_loss(step: Step) -> dict[str, Tensor]:
            fake = discriminate(step.fake, step)
            return {"loss": loss.generator(fake - discriminate(step.real, step) if loss.relative else fake)}

        phases = [
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=optimizer,
                extra_state=augment.extra_state,
                after=augment.adapt,
            ),
            Phase(
                name="D-R1", module=discriminator, loss=penalty_loss, optimizer=optimizer, interval=train.r1_interval
            ),
            Phase(
                name="G",
                module=self.generator,
                loss=generator_loss,
                optimizer=make_optimizer(self.generator, train.generator),
                interval=train.generator_interval,
            ),
        ]
        is_lazy = train.r1_gamma and train.r1_interval > 1
        return [phase for phase in phases if phase.name != "D-R1" or is_lazy]
