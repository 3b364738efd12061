"""MoCoGAN. Tulyakov, Liu, Yang & Kautz 2018, "MoCoGAN: Decomposing Motion and Content for Video Generation",
arXiv:1707.04993.

A clip is a path through a space of images. One content vector z_C ~ N(0, I) stays the same for the whole clip. The
motion vectors z_M^(t) come from a recurrent network R_M, a GRU of one layer, whose inputs are noise e^(t) ~ N(0, I). An
image generator G_I, as in DCGAN, makes each frame from [z_C, z_M^(t)]. There are two discriminators: D_I sees single
frames, patch by patch, and D_V sees the clip, by convolutions in space and time.

Categorical dynamics: the class z_A of a clip is an input of R_M at each step, or of G_I, which did worse in table 4.
D_V also classifies clips: real ones by their own class, generated ones by the class that was asked for.

Weights are initialized as in DCGAN. Noise before each convolution of a discriminator is an option of the released code.

The architecture does not force z_C to decide the content, so the generator must learn that. A slow change of color is
hard to see for D_V: it would have to compare distant places, and the change may go either way. With `content_width`
there is a third discriminator D_C, which is not in the paper and looks at such changes alone.

C, M and E are the dimensions of content, motion and e, K the classes, W = width; below for 16 frames of 64 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import LabelledGAN
from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.gan import GAN, Graph
from zoo.noise import Noise
from zoo.options import FrameOptions, LabelOptions
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.adversarial import r1_phases
from zoo.training.losses import LOSSES, Penalties
from zoo.training.phases import Phase, Step, make_optimizer
from zoo.video.clip_gan import ClipConfig, LongClipGAN, as_clips, frames_at_once
from zoo.video.samples import Clips

LossFn = Callable[[Step], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class MoCoGANConfig(ClipConfig):
    """The sizes of the networks, and who gets the class."""

    content_dim: int = field(default=50, metadata=within(1, 4096))
    """Numbers of the content vector."""
    motion_dim: int = field(default=10, metadata=within(1, 1024))
    """Numbers of a motion vector, and so of the recurrent network's state."""
    noise_dim: int = field(default=10, metadata=within(1, 1024))
    """Numbers of the noise that the recurrent network reads at each step."""
    labels: int = field(default=0, metadata=within(0, 1024))
    """Classes of motion that can be asked for; 0: none. The data of a training sets it."""
    labels_to: Literal["motion", "image"] = "motion"
    """The network that gets the class: the recurrent one, which did better in the paper, or the image generator."""
    width: int = field(default=64, metadata=within(1, 512))
    """Channels of the map next to the image. Each halving of the resolution doubles them, up to 8 times."""
    generator_width: int = field(default=0, metadata=within(0, 512))
    """The `width` of the image generator, where it differs from the discriminators'; 0: the same."""
    resolution: int = field(default=64, metadata=within(16, 256))
    """Height and width of a frame, a power of two."""
    time_stride: int = field(default=1, metadata=within(1, 2))
    """Stride in time of the clip discriminator: 1 in the paper; 2 halves the work of each layer."""
    discriminator_noise: float = field(default=0.0, metadata=within(0, 10))
    """Standard deviation of the noise before each convolution of the discriminators of images and clips."""
    content_width: int = field(default=0, metadata=within(0, 512))
    """Hidden units of a third discriminator, which sees whether content stays the same; 0: none, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_left < 1:
            layers = len(self.widths)
            raise InvalidValueError(
                f"model.frames = {self.frames} are too few for {layers} layers of model.time_stride = "
                f"{self.time_stride}: at least {3 * layers + 1 if self.time_stride == 1 else 1 << layers} are needed"
            )

    @property
    def widths(self) -> list[int]:
        """Channels from the 4 x 4 map to the one next to the image: [8W, 4W, 2W, W] at 64 px."""
        return self._list_widths(self.width)

    @property
    def generator_widths(self) -> list[int]:
        """The `widths` of the image generator."""
        return self._list_widths(self.generator_width or self.width)

    def _list_widths(self, width: int) -> list[int]:
        num_maps = self.resolution.bit_length() - 3
        return [width << min(i, 3) for i in reversed(range(num_maps))]

    @property
    def num_patches(self) -> int:
        """Logits of the image discriminator for one image: 16 at 64 px."""
        return (self.resolution >> 4) ** 2

    @property
    def time_left(self) -> int:
        """The length in time of the clip discriminator's last map: 16 -> 13 -> 10 -> 7 -> 4, or 16 -> ... -> 1."""
        layers = len(self.widths)
        return self.frames - 3 * layers if self.time_stride == 1 else self.frames >> layers


class Generator(nn.Module):
    """Latents [N, C + M + T * E + K] -> clips [N, 3, T, R, R] in (-1, 1), one frame for each vector of noise."""

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__()
        self.config = config
        to_motion, to_image = (config.labels if config.labels_to == place else 0 for place in ("motion", "image"))
        self.recurrent = nn.GRUCell(config.noise_dim + to_motion, config.motion_dim)
        widths = config.generator_widths
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(config.content_dim + config.motion_dim + to_image, widths[0], 4, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),  # [N T, 8W, 4, 4]
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),  # height and width double
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1, bias=False),  # [N T, 3, R, R]
            nn.Tanh(),
        ]
        self.image = nn.Sequential(*layers)
        self.image.apply(initialize)

    def make_codes(self, latents: Tensor) -> Tensor:
        """Make the code of each frame [N T, C + M, 1, 1]."""
        config = self.config
        latents, classes = latents.split([latents.shape[1] - config.labels, config.labels], dim=1)
        content, state = latents[:, : config.content_dim], latents[:, config.content_dim :][:, : config.motion_dim]
        noise = latents[:, config.content_dim + config.motion_dim :].unflatten(1, (-1, config.noise_dim))  # [N, T, E]
        classes_each_step = [classes] if config.labels_to == "motion" else []
        states = []
        for step in noise.unbind(1):
            state = self.recurrent(torch.cat([step, *classes_each_step], dim=1), state)  # [N, M]
            states.append(state)
        motion = torch.stack(states, dim=1)  # [N, T, M]
        content = torch.cat([content] + ([classes] if config.labels_to == "image" else []), dim=1)
        codes = torch.cat([content[:, None].expand(-1, motion.shape[1], -1), motion], dim=2)
        return codes.flatten(0, 1)[:, :, None, None]

    def forward(self, latents: Tensor) -> Tensor:
        codes = self.make_codes(latents)
        n = latents.shape[0]  # and not `len`, which an export would fix
        if self.training or torch.compiler.is_exporting():
            return as_clips(self.image(codes), n)
        pieces = codes.split(frames_at_once(self.config.resolution))  # a long clip is generated in pieces
        return as_clips(torch.cat([self.image(piece) for piece in pieces]), n)

    def make_pieces(self, latents: Tensor) -> Iterator[Tensor]:
        """Generate one clip in pieces [1, 3, t, R, R]."""
        for codes in self.make_codes(latents).split(frames_at_once(self.config.resolution)):
            yield as_clips(self.image(codes), 1)


class ImageDiscriminator(nn.Module):
    """Images [N, 3, R, R] -> logits [N, P], one for each patch: 4 x 4 patches at 64 px."""

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__()
        sigma = config.discriminator_noise
        widths = [3, config.width, 2 * config.width, 4 * config.width]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers += [DiscriminatorNoise(sigma), nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after)] if i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        layers += [DiscriminatorNoise(sigma), nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1, bias=False)]
        self.main = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images).flatten(1)


class ClipDiscriminator(nn.Module):
    """Clips [N, 3, T, R, R] -> logits [N]; `logits` also returns those of the classes [N, K]."""

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__()
        sigma, stride = config.discriminator_noise, config.time_stride
        widths = [3, *config.widths[::-1]]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            convolution = nn.Conv3d(before, after, 4, (stride, 2, 2), (stride - 1, 1, 1), bias=False)
            layers += [DiscriminatorNoise(sigma), convolution]  # [N, W, 13, 32, 32], ..., [N, 8W, 4, 4, 4]
            layers += [nn.BatchNorm3d(after)] if i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        last = nn.Conv3d(widths[-1], 1 + config.labels, (config.time_left, 4, 4), bias=False)
        self.main = nn.Sequential(*layers, DiscriminatorNoise(sigma), last)  # [N, 1 + K, 1, 1, 1]
        self.apply(initialize)

    def logits(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits of being real [N] and of the classes [N, K]."""
        outputs = self.main(clips).flatten(1)
        return outputs[:, 0], outputs[:, 1:]

    def forward(self, clips: Tensor) -> Tensor:
        return self.logits(clips)[0]


class ContentDiscriminator(nn.Module):
    """Clips [N, 3, T, R, R] -> logits [N, 3], from how much the foreground changes.

    The foreground are pixels whose color is far from the frame's mean. The weight of a pixel is the fourth power of
    that distance, so soft edges and a background that is not quite black count next to nothing. An object of one color
    has three variances of 0: of its colors within a frame, of its color over time, and of its visible area over time.
    Convolutions hardly learn variances, because more and less are both wrong. So the variances are given as inputs,
    like the deviation over a batch in Karras et al. 2018, arXiv:1710.10196, section 3.

    - They are shares of the contrast; otherwise a paler color would look like a smaller change.
    - They are logarithms, so that small variances differ as clearly as large ones.
    - Each has small layers of its own; otherwise only the plainest one would be used.
    - Noise is added; otherwise real clips, whose variances are 0, would be certain.
    """

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__()
        width = config.content_width
        self.main = nn.Sequential(
            DiscriminatorNoise(1.0),
            nn.Conv1d(3, 3 * width, 1, groups=3),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv1d(3 * width, 3, 1, groups=3),
        )

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2)  # [N, T, 3, R, R]
        mean = frames.mean((3, 4), keepdim=True)
        distance = (frames - mean).square().sum(2, keepdim=True)  # [N, T, 1, R, R]
        weights = distance.square()
        weights = weights / (weights.sum((3, 4), keepdim=True) + 1e-8)  # of a frame they sum to 1
        color = (weights * frames).sum((3, 4), keepdim=True)  # [N, T, 3, 1, 1], of the foreground
        within_frames = (weights * (frames - color).square()).sum((2, 3, 4)).mean(1)  # [N]
        contrast = (weights * distance).sum((2, 3, 4)).mean(1) + 1e-6
        area = distance.mean((1, 2, 3, 4)) / contrast + 1e-6  # the share of a frame that is foreground
        variances = [within_frames, variance_over_time(color), variance_over_time(mean) / area.square()]
        smallest = (1e-4, 1e-5, 1e-4)  # less counts as nothing: deviations of 1 % of the contrast, 0.3 % and 1 %
        # From -11.5, for a smallest value of 1e-5, to 0; 7 is about the middle.
        logs = [(variance / contrast + least).log() + 7 for variance, least in zip(variances, smallest, strict=True)]
        return self.main(torch.stack(logs, dim=1)[:, :, None]).squeeze(2)


def variance_over_time(colors: Tensor) -> Tensor:
    """Compute the variance of colors [N, T, 3, 1, 1] over time [N], summed over the channels."""
    return colors.var(1, unbiased=False).sum((1, 2, 3))


class DiscriminatorNoise(nn.Module):
    """Noise N(0, sigma) that is added in training."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.sigma):
            return x
        # The noise is in the order of memory: `randn_like` of a channels-last tensor is ten times slower on a CPU.
        noise = torch.empty_like(x)
        noise.as_strided((x.numel(),), (1,)).normal_()
        return x + self.sigma * noise


def initialize(module: nn.Module) -> None:
    """Initialize a layer as DCGAN does."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


@dataclass(frozen=True, kw_only=True)
class MoCoGANTrainConfig(TrainConfig):
    """Learning rates and weight decay of the released code.

    `discriminator` is the optimizer of all discriminators. R1 is for the two of the paper.
    """

    generator: OptimizerConfig = OptimizerConfig(weight_decay=1e-5)
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(weight_decay=1e-5)
    """The optimizer of all discriminators."""
    content_weight: float = field(default=1.0, metadata=within(0))
    """Weight of the generator's loss against the third discriminator, where there is one."""
    category_weight: float = field(default=1.0, metadata=within(0))
    """Weight of the cross-entropy of classes, lambda in the paper."""

    def __post_init__(self) -> None:
        check_unused(self, "MoCoGAN", "gradient_penalty", "augment", losses=("relativistic",))


@dataclass(frozen=True, kw_only=True)
class MoCoGANOptions(LabelOptions, FrameOptions):
    """A class of motion and a number of frames."""


class MoCoGAN(LongClipGAN, LabelledGAN[Clips]):
    """Latents [N, 220 + K] -> clips [N, 3, 16, 64, 64] in [-1, 1].

    With six classes, which the recurrent network gets: 3,249,864 + 11,253,504 + 663,296 parameters.
    """

    Config = MoCoGANConfig
    TrainConfig = MoCoGANTrainConfig
    SampleOptions = MoCoGANOptions
    generator: Generator
    discriminator: ClipDiscriminator
    image_discriminator: ImageDiscriminator
    content_discriminator: ContentDiscriminator

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = ClipDiscriminator(config)
        self.image_discriminator = ImageDiscriminator(config)
        if config.content_width:
            self.content_discriminator = ContentDiscriminator(config)

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Draw [n, C + M + T * E]: content, the recurrent network's first state, and its noise for each step."""
        config = self.config
        return noise.normal(n, config.content_dim + config.motion_dim + config.frames * config.noise_dim)

    def length_of(self, latents: Tensor) -> int:
        config = self.config
        return (latents.shape[1] - config.labels - config.content_dim - config.motion_dim) // config.noise_dim

    def extend_latents(self, latents: Tensor, frames: int, seed: int) -> Tensor:
        config = self.config
        body, classes = latents.split([latents.shape[1] - config.labels, config.labels], dim=1)
        more = self.more_noise(len(latents), max(0, frames - config.frames) * config.noise_dim, seed)
        wanted = config.content_dim + config.motion_dim + frames * config.noise_dim
        return torch.cat([torch.cat([body, more], dim=1)[:, :wanted], classes], dim=1)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Clips:
        labels: tuple[str, ...] = ()
        if self.labels and latents is not None:
            labels = tuple(self.labels[label] for label in latents[:, -len(self.labels) :].argmax(1).tolist())
        return Clips(tensor=tensor, latents=latents, seed=seed, rate=self.config.rate, labels=labels)

    def prepare_discriminator_export(self, n: int, seed: int) -> Graph:
        """As `GAN.prepare_discriminator_export`: this discriminator is given no classes, it recognizes them."""
        return GAN.prepare_discriminator_export(self, n, seed)

    def float32_modules(self) -> list[nn.Module]:
        exact = [self.generator.recurrent, self.generator.image[-2], self.discriminator.main[-1]]
        exact.append(self.image_discriminator.main[-1])
        return [*exact, self.content_discriminator.main[-1]] if self.config.content_width else exact

    def phases(self, train: MoCoGANTrainConfig) -> list[Phase]:
        """Make the phases D for clips and classes, D-image for single frames, D-content if there is one, then G."""
        loss, discriminate = LOSSES[train.loss], self.discriminator.logits
        discriminate_images = self.image_discriminator
        penalties = Penalties.of(train, self.discriminator, self.image_discriminator)

        def category_loss(logits: Tensor, step: Step) -> Tensor:
            """Compute the weighted cross-entropy of the classes, which real and generated clips share."""
            if step.labels is None or not self.config.labels:
                return logits.new_zeros(())
            return train.category_weight * F.cross_entropy(logits, step.labels)

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            (real, classes), (fake, _) = discriminate(step.real), discriminate(step.fake.detach())
            category = category_loss(classes, step)
            return {"loss": loss.discriminator(real, fake) + category, "real": real, "fake": fake, "category": category}

        def compute_r1(step: Step) -> Tensor:
            return penalties.r1(self.discriminator, step.real, step.noise)

        def image_discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = (sample_frames(clips, step.noise) for clips in (step.real, step.fake.detach()))
            return {"loss": loss.discriminator(discriminate_images(real), discriminate_images(fake))}

        def compute_image_r1(step: Step) -> Tensor:
            """Compute the penalty of one patch: where patches do not overlap, an image's is the sum of theirs."""
            frames = sample_frames(step.real, step.noise)
            return penalties.r1(discriminate_images, frames, step.noise) / self.config.num_patches

        def content_discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = self.content_discriminator(step.real), self.content_discriminator(step.fake.detach())
            return {"loss": loss.discriminator(real, fake)}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            logits, classes = discriminate(step.fake)
            category = category_loss(classes, step)
            total = loss.generator(logits) + loss.generator(discriminate_images(sample_frames(step.fake, step.noise)))
            if self.config.content_width:
                total = total + train.content_weight * loss.generator(self.content_discriminator(step.fake))
            return {"loss": total + category, "category_asked": category}

        def discriminator_phase(name: str, module: nn.Module, loss_fn: LossFn) -> Phase:
            return Phase(name=name, module=module, loss=loss_fn, optimizer=make_optimizer(module, train.discriminator))

        clips = discriminator_phase("D", self.discriminator, discriminator_loss)
        images = discriminator_phase("D-image", self.image_discriminator, image_discriminator_loss)
        phases = [
            clips,
            *r1_phases(train, clips.module, clips.optimizer, compute_r1),
            images,
            *r1_phases(train, images.module, images.optimizer, compute_image_r1, name="D-image-R1",
                       term="r1_penalty_of_images"),
        ]  # fmt: skip
        if self.config.content_width:
            phases.append(discriminator_phase("D-content", self.content_discriminator, content_discriminator_loss))
        generator_phase = Phase(
            name="G",
            module=self.generator,
            loss=generator_loss,
            optimizer=make_optimizer(self.generator, train.generator),
            interval=train.generator_interval,
        )
        return [*phases, generator_phase]


def sample_frames(clips: Tensor, noise: Noise) -> Tensor:
    """Select a random frame of each clip: [N, 3, T, H, W] -> [N, 3, H, W]."""
    n, _, length = clips.shape[:3]
    chosen = send((noise.uniform(n) * length).long(), clips.device)
    return clips[torch.arange(n, device=clips.device), :, chosen]
