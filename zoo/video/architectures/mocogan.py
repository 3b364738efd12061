"""MoCoGAN. Tulyakov, Liu, Yang & Kautz 2018, "MoCoGAN: Decomposing Motion and Content for Video Generation",
arXiv:1707.04993.

A clip is a path through a space of images. One content vector z_C ~ N(0, I) stays for the whole clip; motion vectors
z_M^(t) come from a recurrent net R_M (a GRU of one layer) that is fed noise e^(t) ~ N(0, I) at each step; an image
generator G_I, a DCGAN's, makes each frame of [z_C, z_M^(t)]. Two discriminators judge it: D_I single frames, patch by
patch, and D_V the clip, by convolutions in space and time.

Categorical dynamics: a clip's class z_A goes to R_M at each step, or to G_I, which did worse in table 4; and D_V tells
the class of clips, real ones by what they are of and generated ones by what was asked.

Weights begin as those of DCGAN do. Noise before each convolution of a discriminator is the released code's option.

That z_C stays has to be taught: to G_I both codes are numbers, and D_V finds it hard to see that a color changes
slowly, since it would have to compare what it sees in different places, and the change may go either way. With
`content_width` a third discriminator D_C, which the paper does not have, judges by that alone.

C, M and E are the dimensions of content, motion and e, K the classes, W = width; below for 16 frames of 64 px.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import LabelledGAN
from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.options import FrameOptions, LabelOptions
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.losses import LOSSES, r1_penalty
from zoo.training.phases import Phase, Step, make_optimizer
from zoo.video.clip_gan import ClipConfig, LongClipGAN, as_clips, frames_at_once
from zoo.video.samples import Clips

Played = Callable[[Step], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class MoCoGANConfig(ClipConfig):
    """`width` is the number of channels beside the image; each halving of the resolution doubles it, up to 8 times."""

    content_dim: int = field(default=50, metadata=within(1, 4096))
    motion_dim: int = field(default=10, metadata=within(1, 1024))
    noise_dim: int = field(default=10, metadata=within(1, 1024))
    """Of the noise that the recurrent net is fed at each step."""
    labels: int = field(default=0, metadata=within(0, 1024))
    """Classes of motion that can be asked for; 0: none. A training sets it by its data."""
    labels_to: Literal["motion", "image"] = "motion"
    """Who is told the class: the recurrent net, which did better in the paper, or the image generator."""
    width: int = field(default=64, metadata=within(1, 512))
    generator_width: int = field(default=0, metadata=within(0, 512))
    """The image generator's own, where the players are not equally wide; 0: `width`."""
    resolution: int = field(default=64, metadata=within(16, 256))
    time_stride: int = field(default=1, metadata=within(1, 2))
    """Of the clip discriminator: 1 in the paper; 2 halves its work at each layer."""
    discriminator_noise: float = field(default=0.0, metadata=within(0, 10))
    """Standard deviation of the noise before each convolution of the discriminators of images and clips."""
    content_width: int = field(default=0, metadata=within(0, 512))
    """Hidden units of a third discriminator, of whether content stays; 0: there is none, as in the paper."""

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
        """Channels from the 4 x 4 map to the one beside the image: [8W, 4W, 2W, W] at 64 px."""
        return self._widths(self.width)

    @property
    def generator_widths(self) -> list[int]:
        """As `widths`, of the image generator."""
        return self._widths(self.generator_width or self.width)

    def _widths(self, width: int) -> list[int]:
        num_maps = self.resolution.bit_length() - 3
        return [width << min(i, 3) for i in reversed(range(num_maps))]

    @property
    def num_patches(self) -> int:
        """Logits that the image discriminator has for an image: 16 at 64 px."""
        return (self.resolution >> 4) ** 2

    @property
    def time_left(self) -> int:
        """Steps of time that the clip discriminator's last map has: 16 -> 13 -> 10 -> 7 -> 4, or 16 -> ... -> 1."""
        layers = len(self.widths)
        return self.frames - 3 * layers if self.time_stride == 1 else self.frames >> layers


class Generator(nn.Module):
    """Latents [N, C + M + T * E + K] -> clips [N, 3, T, R, R] in (-1, 1), of as many frames as there is noise for."""

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

    def forward(self, latents: Tensor) -> Tensor:
        config = self.config
        latents, classes = latents.split([latents.shape[1] - config.labels, config.labels], dim=1)
        content, state = latents[:, : config.content_dim], latents[:, config.content_dim :][:, : config.motion_dim]
        noise = latents[:, config.content_dim + config.motion_dim :].unflatten(1, (-1, config.noise_dim))  # [N, T, E]
        told = [classes] if config.labels_to == "motion" else []
        states = []
        for step in noise.unbind(1):
            state = self.recurrent(torch.cat([step, *told], dim=1), state)  # [N, M]
            states.append(state)
        motion = torch.stack(states, dim=1)  # [N, T, M]
        still = torch.cat([content] + ([classes] if config.labels_to == "image" else []), dim=1)
        codes = torch.cat([still[:, None].expand(-1, motion.shape[1], -1), motion], dim=2)
        codes = codes.flatten(0, 1)[:, :, None, None]  # [N T, C + M, 1, 1]
        if self.training:
            return as_clips(self.image(codes), len(latents))
        pieces = codes.split(frames_at_once(config.resolution))  # a long clip is made piece by piece
        return as_clips(torch.cat([self.image(piece) for piece in pieces]), len(latents))


class ImageDiscriminator(nn.Module):
    """Images [N, 3, R, R] -> logits [N, P], one for each patch, 4 x 4 of them at 64 px."""

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
    """Clips [N, 3, T, R, R] -> logits [N]; `judge` gives those of the classes [N, K], too."""

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

    def judge(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.main(clips).flatten(1)
        return outputs[:, 0], outputs[:, 1:]

    def forward(self, clips: Tensor) -> Tensor:
        return self.judge(clips)[0]


class ContentDiscriminator(nn.Module):
    """Clips [N, 3, T, R, R] -> logits [N, 3], by how far what stands out in the frames does not stay what it is.

    A pixel stands out as far as its color is from the frame's mean; its weight is the fourth power of that, which
    leaves soft edges and a ground that is not quite black next to nothing. A thing of one color has three variances of
    0: of the colors within a frame, of the frames' colors, and of the frames' means, which is of how much is shown.
    Convolutions hardly find such things, since more and less are wrong alike: so they are told, as Karras et al. 2018,
    arXiv:1710.10196, section 3, tell the deviation over a batch. As shares of the contrast, else less color would pass
    for less change; as logarithms, since what is left matters the more the less it is; each to a judge of its own, who
    would else go by the plainest alone; and with noise, or real clips, whose variances are 0, could be told for sure.
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
        away = (frames - mean).square().sum(2, keepdim=True)  # [N, T, 1, R, R]
        weights = away.square()
        weights = weights / (weights.sum((3, 4), keepdim=True) + 1e-8)  # of a frame they sum to 1
        shown = (weights * frames).sum((3, 4), keepdim=True)  # [N, T, 3, 1, 1]
        within = (weights * (frames - shown).square()).sum((2, 3, 4)).mean(1)  # [N]
        contrast = (weights * away).sum((2, 3, 4)).mean(1) + 1e-6
        area = away.mean((1, 2, 3, 4)) / contrast + 1e-6  # the share of a frame that is shown
        shares = [within, _variance(shown), _variance(mean) / area.square()]
        floors = (1e-4, 1e-5, 1e-4)  # what is less counts as none: 1 % of the contrast, 0.3 % and 1 %
        # From -11.5 to 0, where the floor is 1e-5; 7 is about the middle.
        told = [(share / contrast + floor).log() + 7 for share, floor in zip(shares, floors, strict=True)]
        return self.main(torch.stack(told, dim=1)[:, :, None]).squeeze(2)


def _variance(colors: Tensor) -> Tensor:
    """Of colors [N, T, 3, 1, 1] over time, [N]."""
    return colors.var(1, unbiased=False).sum((1, 2, 3))


class DiscriminatorNoise(nn.Module):
    """Adds N(0, sigma) to what passes while it is trained."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.sigma):
            return x
        # Drawn in the order of memory: `randn_like` of what has its channels last takes ten times as long on a CPU.
        noise = torch.empty_like(x)
        noise.as_strided((x.numel(),), (1,)).normal_()
        return x + self.sigma * noise


def initialize(module: nn.Module) -> None:
    """As DCGAN does."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


@dataclass(frozen=True, kw_only=True)
class MoCoGANTrainConfig(TrainConfig):
    """Rates and weight decay of the released code; `discriminator` is for all judges, R1 for those of the paper."""

    generator: OptimizerConfig = OptimizerConfig(weight_decay=1e-5)
    discriminator: OptimizerConfig = OptimizerConfig(weight_decay=1e-5)
    content_weight: float = field(default=1.0, metadata=within(0))
    """What the generator's loss against the third discriminator weighs, where there is one."""
    category_weight: float = field(default=1.0, metadata=within(0))
    """Weight of the classes' cross-entropy, lambda of the paper."""

    def __post_init__(self) -> None:
        check_unused(self, "MoCoGAN", "gradient_penalty", "augment", losses=("relativistic",))


@dataclass(frozen=True, kw_only=True)
class MoCoGANOptions(LabelOptions, FrameOptions):
    """A class of motion and a number of frames."""


class MoCoGAN(LongClipGAN, LabelledGAN):
    """Latents [N, 220 + K] -> clips [N, 3, 16, 64, 64] in [-1, 1]; with six classes told to the recurrent net 3,249,864
    + 11,253,504 + 663,296 parameters."""

    Config = MoCoGANConfig
    TrainConfig = MoCoGANTrainConfig
    SampleOptions = MoCoGANOptions
    generator: Generator
    discriminator: ClipDiscriminator
    content_discriminator: ContentDiscriminator

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = ClipDiscriminator(config)
        self.image_discriminator = ImageDiscriminator(config)
        if config.content_width:
            self.content_discriminator = ContentDiscriminator(config)

    def prior(self, n: int, noise: Noise) -> Tensor:
        """[n, C + M + T * E]: content, the recurrent net's first state, and its noise for each step."""
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

    def phases(self, train: MoCoGANTrainConfig) -> list[Phase]:
        """D judges clips and their classes, D-image a frame of each, D-content, if any, what stays; then G plays."""
        loss, judge, judge_images = LOSSES[train.loss], self.discriminator.judge, self.image_discriminator

        def category(logits: Tensor, step: Step) -> Tensor:
            """The classes' part of a loss: of real clips what they are of is what was asked of the generated ones."""
            if step.labels is None or not self.config.labels:
                return logits.new_zeros(())
            return train.category_weight * F.cross_entropy(logits, step.labels)

        def lazy(penalty: Tensor, name: str) -> dict[str, Tensor]:
            return {"loss": train.r1_gamma / 2 * train.r1_interval * penalty, name: penalty}

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            (real, classes), (fake, _) = judge(step.real), judge(step.fake.detach())
            told = category(classes, step)
            return {"loss": loss.discriminator(real, fake) + told, "real": real, "fake": fake, "category": told}

        def r1_loss(step: Step) -> dict[str, Tensor]:
            return lazy(r1_penalty(self.discriminator, step.real), "r1_penalty")

        def image_discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = (any_frames(clips, step.noise) for clips in (step.real, step.fake.detach()))
            return {"loss": loss.discriminator(judge_images(real), judge_images(fake))}

        def image_r1_loss(step: Step) -> dict[str, Tensor]:
            """A patch's: as far as patches do not overlap, the gradient of their sum is theirs side by side."""
            penalty = r1_penalty(judge_images, any_frames(step.real, step.noise)) / self.config.num_patches
            return lazy(penalty, "r1_penalty_of_images")

        def content_discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = self.content_discriminator(step.real), self.content_discriminator(step.fake.detach())
            return {"loss": loss.discriminator(real, fake)}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            logits, classes = judge(step.fake)
            told = category(classes, step)
            fooled = loss.generator(logits) + loss.generator(judge_images(any_frames(step.fake, step.noise)))
            if self.config.content_width:
                fooled = fooled + train.content_weight * loss.generator(self.content_discriminator(step.fake))
            return {"loss": fooled + told, "category_asked": told}

        def judging(name: str, player: nn.Module, play: Played, r1_loss: Played | None = None) -> list[Phase]:
            optimizer = make_optimizer(player, train.discriminator)
            judges = [Phase(name=name, module=player, loss=play, optimizer=optimizer)]
            if r1_loss and train.r1_gamma:
                r1 = Phase(
                    name=f"{name}-R1", module=player, loss=r1_loss, optimizer=optimizer, interval=train.r1_interval
                )
                judges.append(r1)
            return judges

        phases = [
            *judging("D", self.discriminator, discriminator_loss, r1_loss),
            *judging("D-image", self.image_discriminator, image_discriminator_loss, image_r1_loss),
        ]
        if self.config.content_width:
            phases += judging("D-content", self.content_discriminator, content_discriminator_loss)
        generates = Phase(
            name="G",
            module=self.generator,
            loss=generator_loss,
            optimizer=make_optimizer(self.generator, train.generator),
            interval=train.generator_interval,
        )
        return [*phases, generates]


def any_frames(clips: Tensor, noise: Noise) -> Tensor:
    """[N, 3, T, H, W] -> [N, 3, H, W]: a random frame of each clip."""
    n, _, length = clips.shape[:3]
    chosen = (noise.uniform(n) * length).long().to(clips.device)
    return clips[torch.arange(n, device=clips.device), :, chosen]
