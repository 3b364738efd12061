"""MidiNet. Yang, Chou & Yang 2017, "MidiNet: A Convolutional Generative Adversarial Network for Symbolic-domain Music
Generation", arXiv:1703.10847.

A melody is generated bar by bar. The generator is a DCGAN from noise and a chord to a piano roll of one bar. A
*conditioner* network reads the previous bar; its maps are concatenated with those of the generator of the same height.
The discriminator gets the chord, but not the previous bar. Its label for real bars is 0.9, and the generator takes two
steps to one of its. The generator also matches the mean bar, and the mean features of the discriminator's first layer
(section 3.3).

Here the chord of each bar, one of 24 triads, is a track of its own: the score is a lead sheet. In training the chords
are those of the data. In sampling they are those of a training window, which the weights contain. At each step the
pitch with the largest activation sounds (section 3.1), so there are no rests. As in the paper's rolls, repeated notes
of a melody become one note.

M = bars of all samples together, B = bars of a sample, Y = 13: a chord, its root one-hot and whether it is minor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import ConditionalGAN
from zoo.data import Store
from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.music.data.scores import CHORD_BASE, LeadSheetDataConfig, ScoreConfig, decode, mark_onsets
from zoo.music.samples.scores import Scores, make_scores
from zoo.nn.blocks import BlockConv2d, BlockConvTranspose2d
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer

STEPS, PITCHES, CHORD = 16, 128, 13
NUM_PROGRESSIONS = 64


@dataclass(frozen=True, kw_only=True)
class MidiNetConfig(ScoreConfig):
    """The paper's network, for a melody and its chords. Only the number of bars and the latent can be chosen."""

    tracks: int = field(default=2, metadata=within(2, 2))
    """Tracks: the melody and its chords."""
    bars: int = field(default=8, metadata=within(2, 64))
    """Bars of a sample."""
    steps: int = field(default=STEPS, metadata=within(STEPS, STEPS))
    """Steps of a bar."""
    pitches: int = field(default=PITCHES, metadata=within(PITCHES, PITCHES))
    """Pitches of a track: all of MIDI."""
    lowest: int = field(default=0, metadata=within(0, 0))
    """The MIDI number of the lowest pitch."""
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Numbers of the latent of each bar."""
    reads_before: bool = False
    """Whether the discriminator also reads the bar before. Not in the paper, where nothing compares the two."""


@dataclass(frozen=True, kw_only=True)
class MidiNetTrainConfig(TrainConfig):
    """The paper's training."""

    generator: OptimizerConfig = OptimizerConfig(lr=5e-5, betas=(0.5, 0.999))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=5e-5, betas=(0.5, 0.999))
    """The discriminator's optimizer."""
    real_label: float = field(default=0.9, metadata=within(0.5, 1))
    """The discriminator's target for real bars."""
    match_features: float = field(default=0.1, metadata=within(0))
    """Weight of the distance between the mean features of real and generated bars, in the first layer."""
    match_bars: float = field(default=0.01, metadata=within(0))
    """Weight of the distance between the mean real bar and the mean generated one."""

    def __post_init__(self) -> None:
        check_unused(self, "MidiNet", "r1_gamma", "gradient_penalty", "augment")
        if self.loss in ("wasserstein", "relativistic", "hinge", "least_squares"):
            raise InvalidValueError(
                f"train.loss = {self.loss!r}: MidiNet's discriminator is trained by labels: non_saturating"
            )


def append_chord(features: Tensor, chords: Tensor) -> Tensor:
    """Append chords [M, Y] to features: [M, C] -> [M, C + Y]; [M, C, H, W] -> [M, C + Y, H, W], everywhere."""
    if features.dim() == 4:
        chords = chords[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, chords], dim=1)


class Conditioner(nn.Module):
    """The previous bar [M, 1, 16, 128] -> maps [M, 16, H, 1] for H = 2, 4, 8, 16."""

    def __init__(self) -> None:
        super().__init__()
        layers = [BlockConv2d(1, 16, (1, PITCHES)), *(BlockConv2d(16, 16, (2, 1)) for _ in range(3))]
        self.layers = nn.ModuleList(nn.Sequential(layer, nn.BatchNorm2d(16), nn.LeakyReLU(0.2)) for layer in layers)

    def forward(self, before: Tensor) -> list[Tensor]:
        maps = [before]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[:0:-1]


class Generator(nn.Module):
    """Latents [N, B Z + B Y] -> rolls [N, 3, 16 B, 128] of -1 and 1: melody, chords, and onsets.

    `generate_bar` makes one bar of many samples, in probabilities.
    """

    progressions: Tensor
    """Chords [64, B, Y] of training windows, for sampling. They are part of the weights."""

    def __init__(self, config: MidiNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conditioner = Conditioner()
        self.enter = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs + CHORD, outputs), nn.BatchNorm1d(outputs), nn.ReLU())
            for inputs, outputs in ((config.latent_dim, 1024), (1024, 256))
        )
        self.grow = nn.ModuleList(  # heights 2 to 4, 8 and 16
            nn.Sequential(BlockConvTranspose2d(128 + CHORD + 16, 128, (2, 1)), nn.BatchNorm2d(128), nn.ReLU())
            for _ in range(3)
        )
        self.spread = BlockConvTranspose2d(128 + CHORD + 16, 1, (1, PITCHES))
        self.register_buffer("progressions", torch.zeros(NUM_PROGRESSIONS, config.bars, CHORD))
        self.apply(initialize)

    def generate_bar(self, latents: Tensor, chords: Tensor, before: Tensor) -> Tensor:
        """Generate bars from latents [M, Z], chords [M, Y] and the previous bars [M, 1, 16, 128].

        The result are probabilities [M, 1, 16, 128].
        """
        features = latents
        for layer in self.enter:
            features = layer(append_chord(features, chords))
        features = features.view(-1, 128, 2, 1)
        *coarse, finest = self.conditioner(before)
        for layer, condition in zip(self.grow, coarse, strict=True):
            features = layer(torch.cat([append_chord(features, chords), condition], dim=1))
        return torch.sigmoid(self.spread(torch.cat([append_chord(features, chords), finest], dim=1)))

    def forward(self, latents: Tensor) -> Tensor:
        bars = self.config.bars
        noise = latents[:, : bars * self.config.latent_dim].unflatten(1, (bars, -1))
        chords = latents[:, bars * self.config.latent_dim :].unflatten(1, (bars, CHORD))
        melody = [latents.new_zeros(latents.shape[0], 1, STEPS, PITCHES)]  # before the first bar is silence
        for i in range(bars):
            loudest = self.generate_bar(noise[:, i], chords[:, i], melody[-1]).argmax(dim=3)
            melody.append(F.one_hot(loudest, PITCHES).to(latents))
        return make_lead_sheet(torch.cat(melody[1:], dim=2).squeeze(1), chords)


def make_lead_sheet(melody: Tensor, chords: Tensor) -> Tensor:
    """Write a melody [N, 16 B, 128] of 0 and 1 and chords [N, B, Y] as rolls [N, 3, 16 B, 128] of -1 and 1."""
    root, minor = chords[..., :12].argmax(-1), chords[..., 12] > 0.5
    pitches = torch.stack([root, root + 4 - minor.long(), root + 7], dim=-1) + CHORD_BASE
    triads = F.one_hot(pitches, PITCHES).sum(2).to(melody)  # [N, B, 128]
    bars = torch.zeros(*triads.shape[:2], STEPS, PITCHES).to(melody)
    bars[:, :, 0] = triads
    starts = torch.maximum(mark_onsets(melody), bars.flatten(1, 2))
    return torch.stack([melody, triads.repeat_interleave(STEPS, dim=1), starts], dim=1) * 2 - 1


def split_bars(rolls: Tensor) -> tuple[Tensor, Tensor]:
    """Split rolls [N, 3, 16 B, 128] into the melody [N B, 1, 16, 128] of 0 and 1 and the chords [N B, Y]."""
    melody, triads = (rolls[:, i].gt(0).float().unflatten(1, (-1, STEPS)).flatten(0, 1) for i in (0, 1))
    triads = triads[:, 0]  # [N B, 128]
    root = triads.argmax(1, keepdim=True)
    minor = triads.gather(1, (root + 3).clamp(max=PITCHES - 1))
    return melody[:, None], torch.cat([F.one_hot(root[:, 0] % 12, 12).to(minor), minor], dim=1)


def shift_bars(melody: Tensor, bars: int) -> Tensor:
    """Return the bar before each bar [N B, 1, 16, 128]; before the first bar of a sample is silence."""
    return F.pad(melody.unflatten(0, (-1, bars))[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1)


class Discriminator(nn.Module):
    """Rolls [N, 3, 16 B, 128] -> logits [N], the mean over bars; `bar_logits` returns those of single bars."""

    def __init__(self, config: MidiNetConfig) -> None:
        super().__init__()
        self.bars, self.reads_before = config.bars, config.reads_before
        channels = 2 if config.reads_before else 1
        self.first = nn.Sequential(BlockConv2d(channels + CHORD, 14, (2, PITCHES)), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(
            nn.Conv2d(14 + CHORD, 77, (4, 1), stride=(2, 1)), nn.BatchNorm2d(77), nn.LeakyReLU(0.2)
        )
        self.third = nn.Sequential(nn.Linear(77 * 3 + CHORD, 1024), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))
        self.output = nn.Linear(1024 + CHORD, 1)
        self.apply(initialize)

    def bar_logits(self, bars: Tensor, chords: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits [M] and first-layer features [M, 14, 8, 1].

        They are those of bars [M, 1, 16, 128], their chords [M, Y], and the bars before them.
        """
        seen = torch.cat([bars, before], dim=1) if self.reads_before else bars
        first = self.first(append_chord(seen, chords))
        second = self.second(append_chord(first, chords)).flatten(1)  # [M, 231]
        third = self.third(append_chord(second, chords))
        return self.output(append_chord(third, chords)).squeeze(1), first

    def forward(self, rolls: Tensor) -> Tensor:
        melody, chords = split_bars(rolls)
        logits, _ = self.bar_logits(melody, chords, shift_bars(melody, self.bars))
        return logits.view(rolls.shape[0], -1).mean(1)


def initialize(module: nn.Module) -> None:
    """Initialize a layer as DCGAN does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


class MidiNet(ConditionalGAN[Scores]):
    """Latents of each bar [N, B 100] ~ N(0, I) and its chords -> rolls [N, 3, 16 B, 128]: melody, chords, onsets."""

    Config = MidiNetConfig
    DataConfig = LeadSheetDataConfig
    TrainConfig = MidiNetTrainConfig
    Output = Scores
    FEATURES = False

    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: MidiNetConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, self.config.bars * STEPS, PITCHES)

    def init_from_data(self, data: Store) -> None:
        """Keep the chords of 64 training windows, evenly spaced over the training split."""
        train = data.indices("train")
        chosen = train[torch.linspace(0, len(train) - 1, NUM_PROGRESSIONS).long().numpy()]
        chords = split_bars(decode(data.samples[chosen]))[1]
        self.generator.progressions.copy_(chords.unflatten(0, (NUM_PROGRESSIONS, -1)))

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Draw [n, B Z] from N(0, I): a latent for each bar."""
        return noise.normal(n, self.config.bars * self.config.latent_dim)

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        """Append the chords of the generator's progressions, one after the other: [N, B Z] -> [N, B Z + B Y]."""
        chords = self.generator.progressions[positions % NUM_PROGRESSIONS]
        return torch.cat([prior.to(chords), chords.flatten(1)], dim=1)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Scores:
        return make_scores(tensor, latents, seed, self.config)

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.spread, self.discriminator.output]

    def phases(self, train: MidiNetTrainConfig) -> list[Phase]:
        """Make the phases D, G and G-again: two generator steps to one of the discriminator."""
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]

        def generate(step: Step) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            """Generate a bar after each real bar's predecessor; returns also the real bars, chords and predecessors."""
            melody, chords = split_bars(step.real)
            noise = send(step.noise.normal(len(step.real), self.config.bars * self.config.latent_dim), melody.device)
            before = shift_bars(melody, self.config.bars)
            return generator.generate_bar(noise.view(len(melody), -1), chords, before), melody, chords, before

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                generated, melody, chords, before = generate(step)
            real, fake = (discriminator.bar_logits(bars, chords, before)[0] for bars in (melody, generated))
            smooth = train.real_label * F.softplus(-real) + (1 - train.real_label) * F.softplus(real)
            return {"loss": smooth.mean() + F.softplus(fake).mean(), "real": real, "fake": fake}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            generated, melody, chords, before = generate(step)
            logits, features = discriminator.bar_logits(generated, chords, before)
            with torch.no_grad():
                _, real_features = discriminator.bar_logits(melody, chords, before)
            match_features = F.mse_loss(features.mean(0), real_features.mean(0), reduction="sum") / 2
            match_bars = F.mse_loss(generated.mean(0), melody.mean(0), reduction="sum") / 2
            matching = train.match_features * match_features + train.match_bars * match_bars
            return {"loss": loss.generator(logits) + matching, "matching": matching}

        optimizer = make_optimizer(generator, train.generator)
        return [
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=make_optimizer(discriminator, train.discriminator),
            ),
            *(
                Phase(
                    name=name,
                    module=generator,
                    loss=generator_loss,
                    optimizer=optimizer,
                    interval=train.generator_interval,
                )
                for name in ("G", "G-again")
            ),
        ]
