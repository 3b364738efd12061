"""MuseGAN with binary neurons. Dong, Hsiao, Yang & Yang 2018, "MuseGAN: Multi-track Sequential Generative Adversarial
Networks for Symbolic Music Generation and Accompaniment", arXiv:1709.06298; Dong & Yang 2018, arXiv:1804.09399.

A shared generator writes what all tracks have in common, coarsely: first bars, then beats, then sixteenths by octaves.
A private one for each track fills in time and pitch, in both orders, and binary neurons decide what sounds; those of
one more, which the papers lack, what is struck again though it sounds. The discriminator reads the rolls by private
streams, one for each track, and beside them two summaries: the chroma of each beat, where octaves are fuse_norms together,
and what begins and ends at each step. It is trained as a critic, WGAN-GP with weight 10 and 5 steps to one of the
generator. As accompaniment (sections 3.3 and 4.3 of the first paper) one track is given: an encoder reads it, and what
it finds joins the shared generator at each resolution.

The default sizes and the order of layers are those of the authors' second version, which the papers do not print:
2,578,127 and 1,365,841 parameters. Its critic reads pairs of neighboring bars and gives each a score; a sample's score
is their mean. The kernels of the tables there span bar, step and pitch, but all beyond the first and last layer are of
one bar, so that here bars lie in the batch: [N, C, B, S, P] is [N B, C, S, P].

B = bars, S = steps of a bar, P = pitches, O = octaves, R = rolls: one for each voice and one for what is struck.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.conditional import ConditionalGAN
from zoo.data import Store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.data.midi import read_grid
from zoo.music.data.scores import ScoreConfig, ScoreDataConfig, decode, onsets, ranges, within_pitches
from zoo.music.samples.scores import Scores, scores
from zoo.nn.binary_neurons import binary, one_of
from zoo.nn.blocks import BlockConv2d, BlockConvTranspose2d
from zoo.noise import Noise
from zoo.options import InputOptions
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase, Step

BEATS = 4
NUM_TUNES = 16
COMPETING_GAIN = 3.0  # standard deviation of the logits that they begin with
NUM_COUNTED = 1000  # windows
COARSE_STEPS = 16  # of a bar, where the shared generator ends


@dataclass(frozen=True, kw_only=True)
class MuseGANConfig(ScoreConfig):
    """`generator_width` is the channels where the shared generator ends, and `critic_width` where the streams begin."""

    tracks: int = field(default=4, metadata=within(1, 16))
    latent_dim: int = field(default=128, metadata=within(1, 4096))
    generator_width: int = field(default=128, metadata=within(1, 1024))
    private_width: int = field(default=16, metadata=within(1, 256))
    critic_width: int = field(default=16, metadata=within(1, 256))
    neurons: Literal["deterministic", "stochastic"] = "deterministic"
    single: bool = False
    """Whether a voice sounds one pitch at a time: its deterministic neurons compete, and the largest one says 1."""
    in_range: bool = False
    """Whether a voice is held to the pitches that it has in the training data, as a singer is. Not from the papers."""
    given: int = field(default=-1, metadata=within(-1, 15))
    """The track that is given and accompanied, from 0; -1: none, all are written."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps % COARSE_STEPS or self.pitches % 12 or not self.pitches // 12 >= 2:
            raise InvalidValueError(
                f"model.steps = {self.steps} should be a multiple of {COARSE_STEPS}, and model.pitches = "
                f"{self.pitches} whole octaves, 2 at least"
            )
        if self.bars < 2:
            raise InvalidValueError(
                f"model.bars = {self.bars}: the critic reads pairs of bars, so 2 are needed at least"
            )
        if self.single and self.neurons != "deterministic":
            raise InvalidValueError("model.single = true: the neurons of single voices are deterministic")
        if self.given >= self.tracks:
            raise InvalidValueError(f"model.given = {self.given}: the model has tracks 0 to {self.tracks - 1}")

    @property
    def rolls(self) -> int:
        return self.tracks + 1

    @property
    def roll(self) -> tuple[int, int, int]:
        """The shape of one sample [R, B S, P]."""
        return (self.rolls, self.bars * self.steps, self.pitches)

    @property
    def finer(self) -> int:
        """Steps to a coarse one: 3 of 48; 1 of 16, where no layer refines time."""
        return self.steps // COARSE_STEPS

    @property
    def octaves(self) -> tuple[int, int]:
        """The pitch kernels that lead from 1 to O octaves, the second with stride 2: 3 and 3 to 7, 2 and 2 to 4."""
        last = 2 + self.pitches // 12 % 2
        return (self.pitches // 12 - last) // 2 + 1, last


@dataclass(frozen=True, kw_only=True)
class MuseGANTrainConfig(TrainConfig):
    loss: LossName = "wasserstein"
    generator: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.5, 0.9))
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.5, 0.9))
    generator_interval: int = field(default=5, metadata=within(1))
    gradient_penalty: float = field(default=10.0, metadata=within(0))
    lr_decay_share: float = field(default=0.1, metadata=within(0, 1))
    last_slope: float = field(default=5.0, metadata=within(1))
    """Of the binary neurons at the end of the training; they begin with 1."""
    slope_from_share: float = field(default=0.2, metadata=within(0, 0.99))
    """The share of the training after which the slope begins to grow."""

    def __post_init__(self) -> None:
        check_unused(self, "MuseGAN", "augment")

    @property
    def schedule_start_kimg(self) -> float:
        grows_from = self.total_kimg * self.slope_from_share if self.last_slope > 1 else math.inf
        return min(super().schedule_start_kimg, grows_from)

    def slope(self, kimg: float) -> float:
        share = (kimg / self.total_kimg - self.slope_from_share) / (1 - self.slope_from_share)
        return 1 + (self.last_slope - 1) * min(1.0, max(0.0, share))


def layer(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


def bars_apart(rolls: Tensor, config: MuseGANConfig) -> Tensor:
    """[N, R, B S, P] -> [N B, R, S, P]."""
    return rolls.unflatten(2, (config.bars, config.steps)).transpose(1, 2).flatten(0, 1)


class Private(nn.Module):
    """The private generators of all rolls, as groups side by side: [N B, C, 16, O] -> logits [N B, R, S, P]."""

    def __init__(self, channels: int, config: MuseGANConfig) -> None:
        super().__init__()
        width, rolls, finer = config.private_width, config.rolls, config.finer
        pitch, time = (1, 12), (finer, 1)
        if finer == 1:
            self.widths = (2 * width, width)
            streams = [layer(BlockConvTranspose2d(channels, rolls * w, pitch), rolls * w) for w in self.widths]
        else:
            self.widths = (width, width)
            streams = [
                layer(BlockConvTranspose2d(channels, rolls * 2 * width, first), rolls * 2 * width)
                + layer(BlockConvTranspose2d(rolls * 2 * width, rolls * width, second, groups=rolls), rolls * width)
                for first, second in ((pitch, time), (time, pitch))
            ]
        self.streams = nn.ModuleList(nn.Sequential(*stream) for stream in streams)  # [N B, R ., S, P] each
        self.merge = nn.Sequential(
            BlockConv2d(rolls * sum(self.widths), rolls, (1, 1), groups=rolls), nn.BatchNorm2d(rolls)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.merge(side_by_side([stream(features) for stream in self.streams], self.widths))


def side_by_side(features: list[Tensor], widths: tuple[int, ...]) -> Tensor:
    """Several [N, R w, ., .], of R groups each, as one of R groups."""
    groups = [f.unflatten(1, (-1, width)) for f, width in zip(features, widths, strict=True)]
    return torch.cat(groups, dim=2).flatten(1, 2)


class Encoder(nn.Module):
    """A given track, sounding and struck [N B, 2, S, P] -> its features, coarse first.

    [N B, 16W, 1, 1], [N B, 8W, 4, .] and [N B, 4W, 16, O], with W the width of the critic, which it is built like.
    """

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        width = config.critic_width
        self.reading = Streams(2, 1, config)
        self.shrinking = nn.ModuleList(shrink(4 * width, config))

    def forward(self, given: Tensor) -> list[Tensor]:
        features = [self.reading(given)]
        for step in self.shrinking:
            features.append(step(features[-1]))
        return features[::-1]


class Generator(nn.Module):
    """Latents [N, D] -> rolls [N, R, B S, P] of -1 and 1; see `MuseGAN.latents`."""

    slope: Tensor
    reach: Tensor
    """Which pitches each voice has, bool [V, P], for a model whose voices keep in their ranges."""
    tunes: Tensor
    """Given tracks that travel with the weights, 0 and 1 for -1 and 1: what is accompanied where nothing is given."""

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        self.config = config
        width, (first, last) = config.generator_width, config.octaves
        given = [w * config.critic_width for w in (16, 8, 4)] if config.given >= 0 else [0, 0, 0]
        self.enter = nn.Sequential(  # [N, 4W, B]
            nn.ConvTranspose1d(config.latent_dim, 4 * width, config.bars), nn.BatchNorm1d(4 * width), nn.ReLU()
        )
        to_beats = BlockConvTranspose2d(4 * width + given[0], 2 * width, (4, first))
        to_sixteenths: nn.Module
        if last == 2:
            to_sixteenths = BlockConvTranspose2d(2 * width + given[1], width, (4, 2))
        else:
            to_sixteenths = nn.ConvTranspose2d(2 * width + given[1], width, (4, 3), stride=(4, 2))
        self.beats = nn.Sequential(*layer(to_beats, 2 * width))  # [N B, 2W, 4, .]
        self.sixteenths = nn.Sequential(*layer(to_sixteenths, width))  # [N B, W, 16, O]
        self.private = Private(width + given[2], config)
        self.encoder = Encoder(config) if config.given >= 0 else None
        self.register_buffer("slope", torch.ones(()))
        if config.in_range:
            self.register_buffer("reach", torch.ones(config.tracks, config.pitches, dtype=torch.bool))
        if config.given >= 0:
            self.register_buffer("tunes", torch.zeros(NUM_TUNES, 2, *config.roll[1:]))
        self.apply(initialize)

    def forward(self, latents: Tensor) -> Tensor:
        config = self.config
        latents, thresholds, given = parts(latents, config)
        found = [None] * 3 if given is None or self.encoder is None else self.encoder(bars_apart(given, config))
        features = self.enter(latents[..., None]).transpose(1, 2).flatten(0, 1)[..., None, None]  # [N B, 4W, 1, 1]
        features = self.beats(joined(features, found[0]))
        features = joined(self.sixteenths(joined(features, found[1])), found[2])
        logits = self.private(features)  # [N B, R, S, P]
        logits = logits.unflatten(0, (-1, config.bars)).transpose(1, 2).flatten(2, 3)  # [N, R, B S, P]
        voices, again = logits[:, :-1], logits[:, -1:]
        if config.in_range:
            voices = torch.where(self.reach[:, None], voices, -math.inf)
        if config.single:
            voices, again = one_of(voices, self.slope), binary(again, self.slope)
        else:
            rolls = binary(torch.cat([voices, again], dim=1), self.slope, thresholds)
            voices, again = rolls[:, :-1], rolls[:, -1:]
        if given is None:
            return torch.cat([voices, struck(voices, again)], dim=1)
        sounding, begun = given.split(1, dim=1)
        voices = torch.cat([voices[:, : config.given], sounding, voices[:, config.given + 1 :]], dim=1)
        begun = torch.where(sounding > 0, begun, struck(voices, again))  # where the given track sounds, it alone says
        return torch.cat([voices, begun], dim=1)


def struck(voices: Tensor, again: Tensor) -> Tensor:
    """Where one of the voices [N, V, T, P] begins, or goes on and is to sound `again` [N, 1, T, P]: [N, 1, T, P].

    All of -1 and 1. So the voices and what is struck agree, which neurons that know nothing of each other rarely do.
    """
    sounding = voices.add(1).div(2)
    begins, sounding = onsets(sounding).amax(1, keepdim=True), sounding.amax(1, keepdim=True)
    return 2 * (begins + (1 - begins) * sounding * again.add(1).div(2)) - 1


def joined(features: Tensor, others: Tensor | None) -> Tensor:
    return features if others is None else torch.cat([features, others], dim=1)


def parts(latents: Tensor, config: MuseGANConfig) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The latent [N, Z], the thresholds of stochastic neurons [N, R, B S, P], the given track [N, 2, B S, P]."""
    thresholds = given = None
    latent, rest = latents.split([config.latent_dim, latents.shape[1] - config.latent_dim], dim=1)
    if config.neurons == "stochastic":
        thresholds = torch.special.ndtr(rest[:, : math.prod(config.roll)]).unflatten(1, config.roll)
        rest = rest[:, math.prod(config.roll) :]
    if config.given >= 0:
        given = torch.where(rest > 0, 1.0, -1.0).unflatten(1, (2, *config.roll[1:]))
    return latent, thresholds, given


def read_tune(path: Path, config: MuseGANConfig) -> Tensor:
    """The windows of a MIDI file as rolls [N, R, B S, P]; the last one is filled with silence.

    Raises InvalidFileError, also where the file does not have the track that is given.
    """
    grid = read_grid(path, tracks=config.tracks, steps=config.steps)
    num_tracks = int(grid.any(axis=(1, 2)).sum())
    if num_tracks == 1:
        grid[[0, config.given]] = grid[[config.given, 0]]
    if not grid[config.given].any():
        raise InvalidFileError(
            f"{path}: {num_tracks} tracks with notes, and what this model accompanies is number {config.given + 1}, "
            "from high to low; give that many, or that one alone"
        )
    length = config.bars * config.steps
    grid = np.pad(within_pitches(grid, config), ((0, 0), (0, -grid.shape[1] % length), (0, 0)))
    return decode(grid.reshape(config.tracks, -1, length, config.pitches).swapaxes(0, 1))


def given_track(rolls: Tensor, track: int) -> Tensor:
    """A track of rolls [N, R, T, P], sounding and struck: [N, 2, T, P] of -1 and 1."""
    sounding = rolls[:, track]
    return torch.stack([sounding, torch.minimum(sounding, rolls[:, -1])], dim=1)


class Streams(nn.Module):
    """How private streams read all rolls, as groups side by side: [N B, C, S, P] -> [N B, 4W a stream, 16, O].

    Each reads time and pitch in both orders.
    """

    def __init__(self, channels: int, streams: int, config: MuseGANConfig) -> None:
        super().__init__()
        width, finer = config.critic_width, config.finer
        pitch, time = (1, 12), (finer, 1)
        if finer == 1:
            self.widths = (width, 2 * width)
            orders = [reading(channels, [(streams * w, pitch)]) for w in self.widths]
        else:
            self.widths = (2 * width, 2 * width)
            orders = [
                reading(channels, [(streams * width, first), (streams * 2 * width, second)], groups=(1, streams))
                for first, second in ((pitch, time), (time, pitch))
            ]
        self.orders = nn.ModuleList(orders)
        self.merge = reading(streams * sum(self.widths), [(streams * 4 * width, (1, 1))], groups=(streams,))

    def forward(self, rolls: Tensor) -> Tensor:
        return self.merge(side_by_side([order(rolls) for order in self.orders], self.widths))


def reading(
    channels: int, layers: list[tuple[int, tuple[int, int]]], *, groups: tuple[int, ...] = (1, 1)
) -> nn.Sequential:
    """Convolutions of so many channels with such kernels side by side, each with a LeakyReLU."""
    modules: list[nn.Module] = []
    for (width, kernel), num_groups in zip(layers, groups, strict=False):
        modules += [BlockConv2d(channels, width, kernel, groups=num_groups), nn.LeakyReLU(0.2)]
        channels = width
    return nn.Sequential(*modules)


def shrink(channels: int, config: MuseGANConfig) -> list[nn.Sequential]:
    """From [N B, C, 16, O] to [N B, 8W, 4, .] and to [N B, 16W, 1, 1]."""
    width, (first, last) = config.critic_width, config.octaves
    to_beats = BlockConv2d(channels, 8 * width, (4, 2)) if last == 2 else nn.Conv2d(channels, 8 * width, (4, 3), (4, 2))
    return [nn.Sequential(to_beats, nn.LeakyReLU(0.2)), reading(8 * width, [(16 * width, (4, first))])]


class Critic(nn.Module):
    """Rolls [N, R, B S, P] -> scores [N], the mean over the B - 1 pairs of neighboring bars."""

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        self.config = config
        width, rolls, finer = config.critic_width, config.rolls, config.finer
        self.private = Streams(rolls, rolls, config)
        self.shared = nn.Sequential(*shrink(4 * width * rolls, config))  # [N B, 16W, 1, 1]
        self.chroma = reading(rolls, [(2 * width, (1, 12)), (4 * width, (BEATS, 1))])
        fine = [(width, (finer, 1))] if finer > 1 else []
        self.changes = reading(rolls, [*fine, (2 * width, (4, 1)), (4 * width, (4, 1))], groups=(1, 1, 1))
        self.pairs = nn.Sequential(nn.Conv1d(24 * width, 32 * width, 2), nn.LeakyReLU(0.2))  # [N, 32W, B - 1]
        self.score = nn.Conv1d(32 * width, 1, 1)
        self.apply(initialize)

    def forward(self, rolls: Tensor) -> Tensor:
        bars = bars_apart(rolls, self.config).add(1).div(2)  # silence is 0, where the layers bend, and not beyond
        read = self.shared(self.private(bars))
        features = torch.cat(
            [read, self.chroma(chroma(bars)), self.changes(changes(bars, single=self.config.single))], dim=1
        )  # [N B, 24W, 1, 1]
        features = features.flatten(1).unflatten(0, (-1, self.config.bars)).transpose(1, 2)  # [N, 24W, B]
        return self.score(self.pairs(features)).mean(dim=(1, 2))


def chroma(bars: Tensor) -> Tensor:
    """How many steps of each beat each of the twelve notes sounds, in all octaves: [N, R, S, P] -> [N, R, 4, 12]."""
    return bars.unflatten(3, (-1, 12)).sum(3).unflatten(2, (BEATS, -1)).sum(3)


def changes(bars: Tensor, *, single: bool = False) -> Tensor:
    """How many pitches more sound at a step than at the one before, in the same bar: [N, R, S, P] -> [N, R, S, 1].

    In `single` voices, where one note ends as the next begins, that is 0; there it is how many begin.
    """
    steps = bars.diff(dim=2)
    counted = (steps.clamp(min=0) if single else steps).sum(3, keepdim=True)
    return nn.functional.pad(counted, (0, 0, 1, 0))


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
        nn.init.trunc_normal_(module.weight, std=0.05, a=-0.1, b=0.1)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class MuseGANOptions(InputOptions):
    """What a model accompanies that was trained to: `given`, or the MIDI file `input`.

    A file is cut into windows of the model's bars from its start. If it has one track only, that one is accompanied.
    """

    given: Scores | None = None
    """Scores whose track `config.given` is accompanied; they alternate."""


class MuseGAN(ConditionalGAN):
    """Latent [N, 128] -> rolls [N, R, B S, P] of -1 and 1."""

    Config = MuseGANConfig
    DataConfig = ScoreDataConfig
    TrainConfig = MuseGANTrainConfig
    SampleOptions = MuseGANOptions
    Output = Scores
    FEATURES = False

    generator: Generator
    discriminator: Critic

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.config.roll

    def init_from_data(self, data: Store) -> None:
        """Start each roll as full as the data's; keep the voices' ranges, and the tracks of 16 pieces to accompany.

        The papers do none of it. A roll of two notes in a hundred would take a thousand steps to become so empty.
        """
        train = data.indices("train")
        some = decode(data.samples[train[:: len(train) // NUM_COUNTED + 1]])
        sounding = some[:, :-1].gt(0).float()
        going_on = (sounding > onsets(sounding)).any(1)
        again = some[:, -1].gt(0)[going_on].float().mean().nan_to_num()
        shares = torch.cat([sounding.mean(dim=(0, 2, 3)), again[None]]).clamp(1e-3, 0.5)
        norm: Any = self.generator.private.merge[1]
        with torch.no_grad():
            if self.config.single:
                shares[:-1] = 0.5  # neurons that compete need no threshold,
                norm.weight[:-1] = COMPETING_GAIN  # but logits that differ: else the softmax is nothing like its argmax
            norm.bias.copy_(torch.special.ndtri(shares))
        if self.config.in_range:
            self.generator.reach.copy_(torch.from_numpy(ranges(data.samples[train[:1]])))
        if self.config.given < 0:
            return
        _, first = np.unique(data.attributes["piece"][train], return_index=True)
        rolls = decode(data.samples[np.resize(train[np.sort(first)], NUM_TUNES)])
        self.generator.tunes.copy_(given_track(rolls, self.config.given) > 0)

    def prior(self, n: int, noise: Noise) -> Tensor:
        """[n, Z] from N(0, I) within two standard deviations of 0.

        Stochastic neurons have their own chance behind it, a number from N(0, 1) for every cell of the rolls.
        """
        cells = math.prod(self.config.roll) if self.config.neurons == "stochastic" else 0
        numbers = noise.normal(n, self.config.latent_dim + cells)
        numbers[:, : self.config.latent_dim] = truncated(numbers[:, : self.config.latent_dim])
        return numbers

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        """With a given track, as it sounds and is struck: one of the generator's tunes in turn."""
        if self.config.given < 0:
            return prior
        tunes = self.generator.tunes[positions % NUM_TUNES].cpu()
        return torch.cat([prior, tunes.mul(2).sub(1).flatten(1)], dim=1)

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """The latents of as many fakes as there are real rolls [N, R, T, P], which give the track to accompany."""
        latents = self.prior(len(real), noise).to(real.device)
        if self.config.given < 0:
            return latents
        return torch.cat([latents, given_track(real, self.config.given).flatten(1)], dim=1)

    def prepare_sampling(self, n: int, seed: int, options: MuseGANOptions) -> tuple[Tensor, dict[str, Any]]:
        """As `GAN.prepare_sampling`; with a given track, the samples accompany it.

        Raises:
            InvalidValueError: `given` has other sizes, or the model accompanies no track.
            InvalidFileError: a file that cannot be used.
        """
        given = options.given
        if given is None and options.input is None:
            return super().prepare_sampling(n, seed, options)
        if self.config.given < 0:
            raise InvalidValueError(
                "this model writes all tracks and accompanies none: it was trained with model.given = -1"
            )
        if given is None:
            given = self.output(read_tune(Path(os.fspath(options.input)).expanduser(), self.config))  # type: ignore[arg-type]
        if given.tensor.shape[1:] != self.config.roll:
            raise InvalidValueError(
                f"the given scores have the shape {tuple(given.tensor.shape[1:])}, not {self.config.roll}"
            )
        rolls = given.tensor[torch.arange(n) % len(given)]
        return self.latents_for_batch(torch.where(rolls > 0, 1.0, -1.0), Noise(seed)), {}

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Scores:
        return scores(tensor, latents, seed, self.config)

    def phases(self, train: MuseGANTrainConfig) -> list[Phase]:
        first, *others = adversarial_phases(self, train)

        def play(step: Step) -> Mapping[str, Tensor]:  # the discriminator is the first to see a turn's fakes
            self.generator.slope.fill_(train.slope(step.kimg))
            return first.loss(step)

        return [replace(first, loss=play), *others]


def truncated(normal: Tensor, limit: float = 2.0) -> Tensor:
    """N(0, 1) -> N(0, 1) within `limit`, each number to the one of the same rank."""
    low = torch.special.ndtr(torch.tensor(-limit))
    return torch.special.ndtri(torch.lerp(low, 1 - low, torch.special.ndtr(normal)))
