"""MuseGAN with binary neurons. Dong, Hsiao, Yang & Yang 2018, "MuseGAN: Multi-track Sequential Generative Adversarial
Networks for Symbolic Music Generation and Accompaniment", arXiv:1709.06298; Dong & Yang 2018, arXiv:1804.09399.

A shared generator makes what all tracks have in common, from coarse to fine: bars, then beats, then sixteenths in
octaves. A private generator for each track refines time and pitch, in both orders. Binary neurons decide what sounds.
One more roll, which the papers do not have, decides which sounding notes start again. The discriminator has a private
stream for each track. It also reads two summaries: the chroma of each beat, which adds up octaves, and the notes that
start and end at each step. It is the critic of a WGAN-GP with weight 10, and takes 5 steps to one of the generator.

In accompaniment (sections 3.3 and 4.3 of the first paper) one track is given. An encoder reads it, and its features are
concatenated with those of the shared generator at each resolution.

The default sizes and the order of layers are those of the authors' second version, which the papers do not print:
2,578,127 and 1,365,841 parameters. Its critic scores pairs of neighboring bars; the score of a sample is their mean.
The kernels in its tables span bar, step and pitch. But except in the first and last layer they cover one bar only, so
here the bars are part of the batch: [N, C, B, S, P] is [N B, C, S, P].

B = bars, S = steps of a bar, P = pitches, O = octaves, R = rolls: one for each voice and one for onsets.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.conditional import ConditionalGAN
from zoo.data import Store
from zoo.device import send
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.data.midi import FAMILIES, read_grid
from zoo.music.data.scores import ScoreConfig, ScoreDataConfig, decode, fit_pitches, mark_onsets, read_ranges
from zoo.music.metrics.counterpoint import count_faults
from zoo.music.samples.scores import Scores, make_scores
from zoo.nn.binary_neurons import binarize, binarize_largest
from zoo.nn.blocks import BlockConv2d, BlockConvTranspose2d
from zoo.noise import Noise
from zoo.options import CandidateOptions, InputOptions
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase, Step

BEATS = 4
NUM_TUNES = 16
COMPETING_GAIN = 3.0  # standard deviation of the first logits of neurons that compete
NUM_COUNTED = 1000  # windows that the first biases are computed from
COARSE_STEPS = 16  # steps of a bar where the shared generator ends


@dataclass(frozen=True, kw_only=True)
class MuseGANConfig(ScoreConfig):
    """The sizes of the networks, and the rules for voices."""

    tracks: int = field(default=4, metadata=within(1, 16))
    """Tracks, which are also called voices."""
    latent_dim: int = field(default=128, metadata=within(1, 4096))
    """Numbers of the latent."""
    generator_width: int = field(default=128, metadata=within(1, 1024))
    """Channels of the last map of the shared generator."""
    private_width: int = field(default=16, metadata=within(1, 256))
    """Channels of each private generator."""
    critic_width: int = field(default=16, metadata=within(1, 256))
    """Channels of the first layer of each stream of the critic."""
    neurons: Literal["deterministic", "stochastic"] = "deterministic"
    """How binary neurons decide: at a threshold of 1/2, or at random thresholds."""
    single: bool = False
    """Whether a voice has one pitch at a time: its deterministic neurons compete, and the largest one is 1."""
    in_range: bool = False
    """Whether a voice keeps to the pitches that it has in the training data. Not in the papers."""
    harmony: bool = False
    """Whether the critic also reads the intervals between voices, and within each from step to step. Not in the
    papers."""
    given: int = field(default=-1, metadata=within(-1, 15))
    """The number of the track that is given and accompanied, from 0; -1: none, all tracks are generated."""

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
        """Steps in a coarse step: 3 for 48 steps a bar; 1 for 16, where no layer refines time."""
        return self.steps // COARSE_STEPS

    @property
    def octaves(self) -> tuple[int, int]:
        """The pitch kernels from 1 to O octaves, the second with stride 2: 3 and 3 for 7 octaves, 2 and 2 for 4."""
        last = 2 + self.pitches // 12 % 2
        return (self.pitches // 12 - last) // 2 + 1, last


@dataclass(frozen=True, kw_only=True)
class MuseGANTrainConfig(TrainConfig):
    """WGAN-GP with the papers' settings, and binary neurons that become steeper."""

    loss: LossName = "wasserstein"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.5, 0.9))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.5, 0.9))
    """The critic's optimizer."""
    generator_interval: int = field(default=5, metadata=within(1))
    """Critic steps to one generator step."""
    gradient_penalty: float = field(default=10.0, metadata=within(0))
    """Weight of the WGAN-GP penalty."""
    lr_decay_share: float = field(default=0.1, metadata=within(0, 1))
    """Over this last share of the training both learning rates fall linearly to zero."""
    last_slope: float = field(default=5.0, metadata=within(1))
    """Slope of the binary neurons at the end of the training. It starts at 1."""
    slope_from_share: float = field(default=0.2, metadata=within(0, 0.99))
    """Share of the training after which the slope starts to grow."""

    def __post_init__(self) -> None:
        check_unused(self, "MuseGAN", "augment")

    @property
    def schedule_start_kimg(self) -> float:
        grows_from = self.total_kimg * self.slope_from_share if self.last_slope > 1 else math.inf
        return min(super().schedule_start_kimg, grows_from)

    def slope(self, kimg: float) -> float:
        """Compute the slope of the binary neurons at this progress."""
        share = (kimg / self.total_kimg - self.slope_from_share) / (1 - self.slope_from_share)
        return 1 + (self.last_slope - 1) * min(1.0, max(0.0, share))


def normalize(convolution: nn.Module, channels: int) -> list[nn.Module]:
    """List a convolution, its batch norm and a rectifier."""
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


def split_bars(rolls: Tensor, config: MuseGANConfig) -> Tensor:
    """Move the bars of rolls into the batch: [N, R, B S, P] -> [N B, R, S, P]."""
    return rolls.unflatten(2, (config.bars, config.steps)).transpose(1, 2).flatten(0, 1)


class Private(nn.Module):
    """The private generators of all rolls, as groups of convolutions: [N B, C, 16, O] -> logits [N B, R, S, P]."""

    def __init__(self, channels: int, config: MuseGANConfig) -> None:
        super().__init__()
        width, rolls, finer = config.private_width, config.rolls, config.finer
        pitch, time = (1, 12), (finer, 1)
        if finer == 1:
            self.widths = (2 * width, width)
            streams = [normalize(BlockConvTranspose2d(channels, rolls * w, pitch), rolls * w) for w in self.widths]
        else:
            self.widths = (width, width)
            streams = [
                normalize(BlockConvTranspose2d(channels, rolls * 2 * width, first), rolls * 2 * width)
                + normalize(BlockConvTranspose2d(rolls * 2 * width, rolls * width, second, groups=rolls), rolls * width)
                for first, second in ((pitch, time), (time, pitch))
            ]
        self.streams = nn.ModuleList(nn.Sequential(*stream) for stream in streams)  # [N B, R ., S, P] each
        self.merge = nn.Sequential(
            BlockConv2d(rolls * sum(self.widths), rolls, (1, 1), groups=rolls), nn.BatchNorm2d(rolls)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.merge(merge_groups([stream(features) for stream in self.streams], self.widths))


def merge_groups(features: list[Tensor], widths: tuple[int, ...]) -> Tensor:
    """Concatenate several maps [N, R w, ., .] of R groups each, group by group."""
    groups = [f.unflatten(1, (-1, width)) for f, width in zip(features, widths, strict=True)]
    return torch.cat(groups, dim=2).flatten(1, 2)


class Encoder(nn.Module):
    """A given track, notes and onsets [N B, 2, S, P] -> its features, coarse first.

    They are [N B, 16W, 1, 1], [N B, 8W, 4, .] and [N B, 4W, 16, O]. W is the width of the critic, whose layers it has.
    """

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        width = config.critic_width
        self.reading = Streams(2, 1, config)
        self.shrinking = nn.ModuleList(make_shrinking_layers(4 * width, config))

    def forward(self, given: Tensor) -> list[Tensor]:
        features = [self.reading(given)]
        for step in self.shrinking:
            features.append(step(features[-1]))
        return features[::-1]


class Generator(nn.Module):
    """Latents [N, D] -> rolls [N, R, B S, P] of -1 and 1; see `MuseGAN.latents`."""

    slope: Tensor
    reach: Tensor
    """The pitches that each voice may have, bool [V, P], where voices keep in their ranges."""
    tunes: Tensor
    """Tracks to accompany where the user gives none, with 0 and 1 for -1 and 1. They are part of the weights."""

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
        self.beats = nn.Sequential(*normalize(to_beats, 2 * width))  # [N B, 2W, 4, .]
        self.sixteenths = nn.Sequential(*normalize(to_sixteenths, width))  # [N B, W, 16, O]
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
        latents, thresholds, given = split_latents(latents, config)
        conditions = [None] * 3 if given is None or self.encoder is None else self.encoder(split_bars(given, config))
        features = self.enter(latents[..., None]).transpose(1, 2).flatten(0, 1)[..., None, None]  # [N B, 4W, 1, 1]
        features = self.beats(concatenate(features, conditions[0]))
        features = concatenate(self.sixteenths(concatenate(features, conditions[1])), conditions[2])
        logits = self.private(features).contiguous()  # [N B, R, S, P]; torch.compile mistakes its strides
        logits = logits.unflatten(0, (-1, config.bars)).transpose(1, 2).flatten(2, 3)  # [N, R, B S, P]
        voices, again = logits[:, :-1], logits[:, -1:]
        if config.in_range:
            voices = torch.where(self.reach[:, None], voices, -math.inf)
        if config.single:
            voices, again = binarize_largest(voices, self.slope), binarize(again, self.slope)
        else:
            rolls = binarize(torch.cat([voices, again], dim=1), self.slope, thresholds)
            voices, again = rolls[:, :-1], rolls[:, -1:]
        if given is None:
            return torch.cat([voices, mark_starts(voices, again)], dim=1)
        sounding, starts = given.split(1, dim=1)
        voices = torch.cat([voices[:, : config.given], sounding, voices[:, config.given + 1 :]], dim=1)
        starts = torch.where(sounding > 0, starts, mark_starts(voices, again))  # where the given track sounds, its own
        return torch.cat([voices, starts], dim=1)


def mark_starts(voices: Tensor, again: Tensor) -> Tensor:
    """Mark where a note of voices [N, V, T, P] starts, or sounds and starts `again` [N, 1, T, P] -> [N, 1, T, P].

    All numbers are -1 or 1. The onsets fit the voices by construction; independent neurons would rarely agree.
    """
    sounding = voices.add(1).div(2)
    starts, sounding = mark_onsets(sounding).amax(1, keepdim=True), sounding.amax(1, keepdim=True)
    return 2 * (starts + (1 - starts) * sounding * again.add(1).div(2)) - 1


def concatenate(features: Tensor, others: Tensor | None) -> Tensor:
    """Concatenate maps along the channels; others may be None."""
    return features if others is None else torch.cat([features, others], dim=1)


def split_latents(latents: Tensor, config: MuseGANConfig) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Split latents into latent [N, Z], thresholds of stochastic neurons [N, R, B S, P], given track [N, 2, B S, P]."""
    thresholds = given = None
    latent, rest = latents.split([config.latent_dim, latents.shape[1] - config.latent_dim], dim=1)
    if config.neurons == "stochastic":
        thresholds = torch.special.ndtr(rest[:, : math.prod(config.roll)]).unflatten(1, config.roll)
        rest = rest[:, math.prod(config.roll) :]
    if config.given >= 0:
        given = torch.where(rest > 0, 1.0, -1.0).unflatten(1, (2, *config.roll[1:]))
    return latent, thresholds, given


def read_tune(path: Path, config: MuseGANConfig) -> Tensor:
    """Read the windows of a MIDI file as rolls [N, R, B S, P]; the last one is filled up with silence.

    Raises InvalidFileError, also where the file does not have the given track.
    """
    families = config.names == FAMILIES  # as `data.mapping` gathered them
    grid = read_grid(path, tracks=config.tracks, steps=config.steps, mapping="families" if families else "pitch")
    num_tracks = int(grid.any(axis=(1, 2)).sum())
    if num_tracks == 1 and not families:
        grid[[0, config.given]] = grid[[config.given, 0]]
    if families and not grid[config.given].any():
        raise InvalidFileError(f"{path}: no {config.names[config.given]}, which this model accompanies")
    if not grid[config.given].any():
        raise InvalidFileError(
            f"{path}: {num_tracks} tracks with notes, and this model accompanies track {config.given + 1}, from high "
            "to low; give a file with that many tracks, or with that one alone"
        )
    length = config.bars * config.steps
    grid = np.pad(fit_pitches(grid, config, drums=families), ((0, 0), (0, -grid.shape[1] % length), (0, 0)))
    return decode(grid.reshape(config.tracks, -1, length, config.pitches).swapaxes(0, 1))


def select_track(rolls: Tensor, track: int) -> Tensor:
    """Select a track of rolls [N, R, T, P]: its notes and onsets [N, 2, T, P] of -1 and 1."""
    sounding = rolls[:, track]
    return torch.stack([sounding, torch.minimum(sounding, rolls[:, -1])], dim=1)


class Streams(nn.Module):
    """Private streams of the critic, as groups of convolutions: [N B, C, S, P] -> [N B, 4W per stream, 16, O].

    Each reads time and pitch in both orders.
    """

    def __init__(self, channels: int, streams: int, config: MuseGANConfig) -> None:
        super().__init__()
        width, finer = config.critic_width, config.finer
        pitch, time = (1, 12), (finer, 1)
        if finer == 1:
            self.widths = (width, 2 * width)
            orders = [make_convolutions(channels, [(streams * w, pitch)]) for w in self.widths]
        else:
            self.widths = (2 * width, 2 * width)
            orders = [
                make_convolutions(
                    channels, [(streams * width, first), (streams * 2 * width, second)], groups=(1, streams)
                )
                for first, second in ((pitch, time), (time, pitch))
            ]
        self.orders = nn.ModuleList(orders)
        self.merge = make_convolutions(streams * sum(self.widths), [(streams * 4 * width, (1, 1))], groups=(streams,))

    def forward(self, rolls: Tensor) -> Tensor:
        return self.merge(merge_groups([order(rolls) for order in self.orders], self.widths))


def make_convolutions(
    channels: int, layers: list[tuple[int, tuple[int, int]]], *, groups: tuple[int, ...] = (1, 1)
) -> nn.Sequential:
    """Make convolutions without overlap from channels and kernels, each with a LeakyReLU."""
    modules: list[nn.Module] = []
    for (width, kernel), num_groups in zip(layers, groups, strict=False):
        modules += [BlockConv2d(channels, width, kernel, groups=num_groups), nn.LeakyReLU(0.2)]
        channels = width
    return nn.Sequential(*modules)


def make_shrinking_layers(channels: int, config: MuseGANConfig) -> list[nn.Sequential]:
    """Make the layers from [N B, C, 16, O] to [N B, 8W, 4, .] and to [N B, 16W, 1, 1]."""
    width, (first, last) = config.critic_width, config.octaves
    to_beats = BlockConv2d(channels, 8 * width, (4, 2)) if last == 2 else nn.Conv2d(channels, 8 * width, (4, 3), (4, 2))
    return [nn.Sequential(to_beats, nn.LeakyReLU(0.2)), make_convolutions(8 * width, [(16 * width, (4, first))])]


class Critic(nn.Module):
    """Rolls [N, R, B S, P] -> scores [N], the mean over the B - 1 pairs of neighboring bars."""

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        self.config = config
        width, rolls, finer = config.critic_width, config.rolls, config.finer
        self.private = Streams(rolls, rolls, config)
        self.shared = nn.Sequential(*make_shrinking_layers(4 * width * rolls, config))  # [N B, 16W, 1, 1]
        self.chroma = make_convolutions(rolls, [(2 * width, (1, 12)), (4 * width, (BEATS, 1))])
        fine = [(width, (finer, 1))] if finer > 1 else []
        self.changes = make_convolutions(rolls, [*fine, (2 * width, (4, 1)), (4 * width, (4, 1))], groups=(1, 1, 1))
        self.pairs = nn.Sequential(nn.Conv1d(24 * width, 32 * width, 2), nn.LeakyReLU(0.2))  # [N, 32W, B - 1]
        self.score = nn.Conv1d(32 * width, 1, 1)
        self.harmony = Harmony(config) if config.harmony else None
        self.apply(initialize)

    def forward(self, rolls: Tensor) -> Tensor:
        bars = split_bars(rolls, self.config).add(1).div(2)  # silence is 0, where rectifiers bend
        private = self.shared(self.private(bars))
        chroma = self.chroma(sum_octaves(bars))
        changes = self.changes(count_changes(bars, single=self.config.single))
        features = torch.cat([private, chroma, changes], dim=1)  # [N B, 24W, 1, 1]
        features = features.flatten(1).unflatten(0, (-1, self.config.bars)).transpose(1, 2)  # [N, 24W, B]
        scores = self.score(self.pairs(features)).mean(dim=(1, 2))
        return scores if self.harmony is None else scores + self.harmony(rolls)


class Harmony(nn.Module):
    """A stream of the critic that reads intervals: rolls [N, R, B S, P] -> scores [N].

    A chord in any key has the same intervals, so it need not learn each chord twelve times. It has layers of its own up
    to the score, so that weights trained without it fit.
    """

    def __init__(self, config: MuseGANConfig) -> None:
        super().__init__()
        self.config = config
        width, tracks = config.critic_width, config.tracks
        channels = math.comb(tracks, 2) * (12 + 12 + 1) + tracks * 12
        layers = [(8 * width, 1), (8 * width, config.finer), (8 * width, 4), (16 * width, BEATS)]
        self.bars = make_convolutions(channels, [(c, (kernel, 1)) for c, kernel in layers], groups=(1,) * len(layers))
        self.pairs = nn.Sequential(nn.Conv1d(16 * width, 16 * width, 2), nn.LeakyReLU(0.2))  # [N, 16W, B - 1]
        self.score = nn.Conv1d(16 * width, 1, 1)

    def forward(self, rolls: Tensor) -> Tensor:
        intervals = measure_intervals(rolls[:, :-1].add(1).div(2))
        bars = self.bars(intervals[..., None]).flatten(2)  # [N, 16W, B]
        return self.score(self.pairs(bars)).mean(dim=(1, 2))


def measure_intervals(voices: Tensor) -> Tensor:
    """Measure intervals of voices [N, V, T, P] of 0 and 1, at each step: [N, C, T], a channel for each of

    - the interval of each pair of voices, modulo 12: [pairs, 12];
    - whether the pair keeps it from the step before, and both voices move: parallels, [pairs, 12];
    - the interval of each voice from the step before, modulo 12: [V, 12];
    - whether the lower voice of a pair is above the other: [pairs].
    """
    upper, lower = torch.triu_indices(voices.shape[1], voices.shape[1], 1, device=voices.device)
    classes = voices.unflatten(3, (-1, 12)).sum(3)  # [N, V, T, 12]
    pairs = correlate(classes[:, lower], classes[:, upper])
    moves = 1 - (voices * delay(voices)).sum(3)  # [N, V, T]
    kept = pairs * delay(pairs)
    parallels = kept * (moves[:, upper] * moves[:, lower])[..., None]
    crossed = (voices[:, upper] * (voices[:, lower].sum(3, keepdim=True) - voices[:, lower].cumsum(3))).sum(3)
    steps = correlate(delay(classes), classes)
    parts = [part.transpose(2, 3).flatten(1, 2) for part in (pairs, parallels, steps)]
    return torch.cat([*parts, crossed], dim=1)


def delay(rolls: Tensor) -> Tensor:
    """Move rolls [N, V, T, P] one step to the right; before the first step is silence."""
    return nn.functional.pad(rolls, (0, 0, 1, 0))[:, :, :-1]


def correlate(low: Tensor, high: Tensor) -> Tensor:
    """Count the intervals from pitch classes `low` up to `high`, [..., 12] each -> [..., 12]."""
    places = torch.arange(12, device=low.device)
    shifted = high[..., (places[:, None] + places) % 12]  # [..., interval, pitch class of low]
    return (shifted * low[..., None, :]).sum(-1)


def sum_octaves(bars: Tensor) -> Tensor:
    """Count the steps of each beat at which each of the twelve notes sounds: [N, R, S, P] -> [N, R, 4, 12]."""
    return bars.unflatten(3, (-1, 12)).sum(3).unflatten(2, (BEATS, -1)).sum(3)


def count_changes(bars: Tensor, *, single: bool = False) -> Tensor:
    """Count how many more pitches sound at a step than before, in the same bar: [N, R, S, P] -> [N, R, S, 1].

    In `single` voices a note often ends where the next one starts, which would be 0. So there only starts count.
    """
    steps = bars.diff(dim=2)
    counted = (steps.clamp(min=0) if single else steps).sum(3, keepdim=True)
    return nn.functional.pad(counted, (0, 0, 1, 0))


def _warn_of_chords(sounding: Tensor) -> None:
    """Warn where voices [N, V, S, P] that should be single have chords: the critic would tell them apart at once."""
    chords = float((sounding.sum(3) > 1).flatten(1).any(1).float().mean())
    if chords > 0:
        warnings.warn(
            f"{chords:.0%} of the training scores have chords within a voice, but the voices of this model have one "
            "pitch at a time. To learn chords, train with model.single=false",
            stacklevel=2,
        )


def initialize(module: nn.Module) -> None:
    """Initialize a layer as the released code does."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
        nn.init.trunc_normal_(module.weight, std=0.05, a=-0.1, b=0.1)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class MuseGANOptions(InputOptions, CandidateOptions):
    """The track that a model accompanies, if it was trained to: `given`, or the MIDI file `input`; and candidates.

    Of the candidates for a score, the one with the fewest faults of counterpoint is taken: `count_faults`. Without the
    option nothing is chosen.

    A file is cut into windows of the model's bars. If it has one track only, that one is accompanied.
    """

    given: Scores | None = None
    """Scores whose track `config.given` is accompanied, one after the other."""


class MuseGAN(ConditionalGAN[Scores]):
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
        """Set the first biases to the data's density of notes; keep the ranges, and the tracks of 16 pieces.

        The papers do none of it. Without it, about a thousand steps are needed until rolls are as empty as the data's.
        """
        train = data.indices("train")
        rolls = decode(data.samples[train[:: len(train) // NUM_COUNTED + 1]])
        sounding = rolls[:, :-1].gt(0).float()
        held = (sounding > mark_onsets(sounding)).any(1)
        again = rolls[:, -1].gt(0)[held].float().mean().nan_to_num()
        shares = torch.cat([sounding.mean(dim=(0, 2, 3)), again[None]]).clamp(1e-3, 0.5)
        norm: Any = self.generator.private.merge[1]
        with torch.no_grad():
            if self.config.single:
                _warn_of_chords(sounding)
                shares[:-1] = 0.5  # neurons that compete need no threshold
                norm.weight[:-1] = COMPETING_GAIN  # their logits must differ, so that the softmax is like its argmax
            norm.bias.copy_(torch.special.ndtri(shares))
        if self.config.in_range:
            self.generator.reach.copy_(torch.from_numpy(read_ranges(data.samples[train[:1]])))
        if self.config.given < 0:
            return
        _, first = np.unique(data.attributes["piece"][train], return_index=True)
        rolls = decode(data.samples[np.resize(train[np.sort(first)], NUM_TUNES)])
        self.generator.tunes.copy_(select_track(rolls, self.config.given) > 0)

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Draw [n, Z] from N(0, I), truncated at two standard deviations.

        For stochastic neurons, numbers from N(0, 1) follow, one for every cell of the rolls.
        """
        cells = math.prod(self.config.roll) if self.config.neurons == "stochastic" else 0
        numbers = noise.normal(n, self.config.latent_dim + cells)
        numbers[:, : self.config.latent_dim] = truncate(numbers[:, : self.config.latent_dim])
        return numbers

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        """Append the given track, notes and onsets: the generator's tunes, one after the other."""
        if self.config.given < 0:
            return prior
        tunes = self.generator.tunes[positions % NUM_TUNES]
        return torch.cat([prior.to(tunes), tunes.mul(2).sub(1).flatten(1)], dim=1)

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """Draw the latents of a training step. Real rolls [N, R, T, P] give the track to accompany."""
        latents = send(self.prior(len(real), noise), real.device)
        if self.config.given < 0:
            return latents
        return torch.cat([latents, select_track(real, self.config.given).flatten(1)], dim=1)

    @property
    def sample_options(self) -> tuple[str, ...]:
        unused = () if self.config.given >= 0 else ("given", "input")
        return tuple(name for name in super().sample_options if name not in unused)

    def prepare_sampling(self, n: int, seed: int, options: MuseGANOptions) -> tuple[Tensor, dict[str, Any]]:
        """Return the latents of n samples, which accompany a track if there is one.

        Raises:
            InvalidValueError: `given` has other sizes, or the model accompanies no track.
            InvalidFileError: a file that cannot be used.
        """
        count = options.candidates or 1
        latents = self._prepare_latents(n * count, torch.arange(n).repeat_interleave(count), seed, options)
        return (latents.unflatten(0, (n, count)) if count > 1 else latents), {}

    def _prepare_latents(self, n: int, positions: Tensor, seed: int, options: MuseGANOptions) -> Tensor:
        given = options.given
        if given is None and options.input is None:
            return self.add_condition(self.prior(n, Noise(seed)), positions)
        if self.config.given < 0:
            raise InvalidValueError(
                "this model generates all tracks and accompanies none: it was trained with model.given = -1"
            )
        if given is None:
            path = Path(os.fspath(options.input)).expanduser()  # type: ignore[arg-type]
            given = self.output(read_tune(path, self.config))
        if given.tensor.shape[1:] != self.config.roll:
            raise InvalidValueError(
                f"the given scores have the shape {tuple(given.tensor.shape[1:])}, not {self.config.roll}"
            )
        rolls = given.tensor[positions % len(given)]
        return self.latents_for_batch(torch.where(rolls > 0, 1.0, -1.0), Noise(seed))

    def _make(
        self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **arguments: Any
    ) -> Scores:
        """Make the scores of latents [N, ...], or choose each from those of its candidates, [N, K, ...]."""
        if latents.dim() == self.latents(1, Noise(0)).dim():
            return super()._make(latents, batch_size, progress, **arguments)
        n, count = latents.shape[:2]
        report = None if progress is None else lambda done: progress(done // count)
        made = super()._make(latents.flatten(0, 1), batch_size, report, **arguments)
        faults = count_faults(made.grids, self.config.steps, self.config.lowest).reshape(n, count)
        chosen = torch.arange(n) * count + torch.from_numpy(faults.argmin(1))
        assert made.latents is not None
        return self.output(made.tensor[chosen], made.latents[chosen])

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Scores:
        return make_scores(tensor, latents, seed, self.config)

    def float32_modules(self) -> list[nn.Module]:
        return [self.discriminator.score]

    def phases(self, train: MuseGANTrainConfig) -> list[Phase]:
        """Make the usual phases. The first one of a step also sets the slope of the binary neurons."""
        first, *others = adversarial_phases(self, train)

        def discriminator_loss(step: Step) -> Mapping[str, Tensor]:  # it is the first to use the fakes of a step
            self.generator.slope.fill_(train.slope(step.kimg))
            return first.loss(step)

        return [replace(first, loss=discriminator_loss), *others]


def truncate(normal: Tensor, limit: float = 2.0) -> Tensor:
    """Map numbers from N(0, 1) to the normal distribution truncated at `limit`, keeping their order."""
    low = torch.special.ndtr(torch.tensor(-limit))
    return torch.special.ndtri(torch.lerp(low, 1 - low, torch.special.ndtr(normal)))
