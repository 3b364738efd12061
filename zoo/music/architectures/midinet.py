"""MidiNet. Yang, Chou & Yang 2017, "MidiNet: A Convolutional Generative Adversarial Network for Symbolic-domain Music
Generation", arXiv:1703.10847.

A melody bar by bar. The generator is a DCGAN from noise and a chord to a roll of one bar; a *conditioner* network reads
the bar before, and what it finds joins the generator wherever their maps are equally high. The discriminator knows the
chord and never the bar before. It is trained with labels 0.9 for real bars and two generator steps to one of its own,
and the generator also matches the mean bar and the mean features of the discriminator's first layer (section 3.3).

Here the chord of each bar, one of 24 triads, lies in a track of its own: a lead sheet. Chords are the data's in
training, and in sampling those of a training window, which travel with the weights. At each step the pitch with the
largest activation sounds (section 3.1), so there are no rests; as the rolls of the paper, a melody's repeated notes are
one.

M = bars of all samples together, B = bars of a sample, Y = 13: a chord, its root one-hot and whether it is minor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.conditional import ConditionalGAN
from zoo.data import Store
from zoo.errors import InvalidValueError
from zoo.music.data.scores import CHORD_BASE, LeadSheetDataConfig, ScoreConfig, decode, onsets
from zoo.music.samples.scores import Scores, scores
from zoo.nn.blocks import BlockConv2d, BlockConvTranspose2d
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer

STEPS, PITCHES, CHORD = 16, 128, 13
NUM_PROGRESSIONS = 64


@dataclass(frozen=True, kw_only=True)
class MidiNetConfig(ScoreConfig):
    """The paper's network, for a melody and its chords; only the number of bars and the latent may be chosen."""

    tracks: int = field(default=2, metadata=within(2, 2))
    bars: int = field(default=8, metadata=within(2, 64))
    steps: int = field(default=STEPS, metadata=within(STEPS, STEPS))
    pitches: int = field(default=PITCHES, metadata=within(PITCHES, PITCHES))
    lowest: int = field(default=0, metadata=within(0, 0))
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Of each bar."""


@dataclass(frozen=True, kw_only=True)
class MidiNetTrainConfig(TrainConfig):
    generator: OptimizerConfig = OptimizerConfig(lr=5e-5, betas=(0.5, 0.999))
    discriminator: OptimizerConfig = OptimizerConfig(lr=5e-5, betas=(0.5, 0.999))
    real_label: float = field(default=0.9, metadata=within(0.5, 1))
    """What the discriminator should say of real bars."""
    match_features: float = field(default=0.1, metadata=within(0))
    """Weight of the distance between the mean features of real and written bars, in the first layer."""
    match_bars: float = field(default=0.01, metadata=within(0))
    """Weight of the distance between the mean real and written bar."""

    def __post_init__(self) -> None:
        check_unused(self, "MidiNet", "r1_gamma", "gradient_penalty", "augment")
        if self.loss in ("wasserstein", "relativistic", "hinge", "least_squares"):
            raise InvalidValueError(
                f"train.loss = {self.loss!r}: MidiNet's discriminator is trained by labels: non_saturating"
            )


def with_chord(features: Tensor, chords: Tensor) -> Tensor:
    """[M, C] and [M, Y] -> [M, C + Y]; [M, C, H, W] -> [M, C + Y, H, W], the chord at every place."""
    if features.dim() == 4:
        chords = chords[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, chords], dim=1)


class Conditioner(nn.Module):
    """The bar before [M, 1, 16, 128] -> maps [M, 16, H, 1] for H = 2, 4, 8, 16."""

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
    """Latents [N, B Z + B Y] -> rolls [N, 3, 16 B, 128] of -1 and 1: melody, chords, and what is struck.

    `bar` writes one bar of many samples, in probabilities.
    """

    progressions: Tensor
    """Chords [64, B, Y] of training windows, which travel with the weights: what is sampled over."""

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

    def bar(self, latents: Tensor, chords: Tensor, before: Tensor) -> Tensor:
        """Latents [M, Z], chords [M, Y] and the bars before [M, 1, 16, 128] -> probabilities [M, 1, 16, 128]."""
        features = latents
        for layer in self.enter:
            features = layer(with_chord(features, chords))
        features = features.view(-1, 128, 2, 1)
        *coarse, finest = self.conditioner(before)
        for layer, found in zip(self.grow, coarse, strict=True):
            features = layer(torch.cat([with_chord(features, chords), found], dim=1))
        return torch.sigmoid(self.spread(torch.cat([with_chord(features, chords), finest], dim=1)))

    def forward(self, latents: Tensor) -> Tensor:
        bars = self.config.bars
        noise = latents[:, : bars * self.config.latent_dim].unflatten(1, (bars, -1))
        chords = latents[:, bars * self.config.latent_dim :].unflatten(1, (bars, CHORD))
        melody = [torch.zeros(len(latents), 1, STEPS, PITCHES, device=latents.device)]  # before the first is nothing
        for i in range(bars):
            loudest = self.bar(noise[:, i], chords[:, i], melody[-1]).argmax(dim=3)
            melody.append(F.one_hot(loudest, PITCHES).to(latents))
        return lead_sheet(torch.cat(melody[1:], dim=2).squeeze(1), chords)


def lead_sheet(melody: Tensor, chords: Tensor) -> Tensor:
    """A melody [N, 16 B, 128] of 0 and 1 and chords [N, B, Y] as rolls [N, 3, 16 B, 128] of -1 and 1."""
    root, minor = chords[..., :12].argmax(-1), chords[..., 12] > 0.5
    pitches = torch.stack([root, root + 4 - minor.long(), root + 7], dim=-1) + CHORD_BASE
    triads = F.one_hot(pitches, PITCHES).sum(2).to(melody)  # [N, B, 128]
    bars = torch.zeros(*triads.shape[:2], STEPS, PITCHES).to(melody)
    bars[:, :, 0] = triads
    struck = torch.maximum(onsets(melody), bars.flatten(1, 2))
    return torch.stack([melody, triads.repeat_interleave(STEPS, dim=1), struck], dim=1) * 2 - 1


def bars_of(rolls: Tensor) -> tuple[Tensor, Tensor]:
    """The melody [N B, 1, 16, 128] of 0 and 1 and the chords [N B, Y] of rolls [N, 3, 16 B, 128]."""
    melody, triads = (rolls[:, i].gt(0).float().unflatten(1, (-1, STEPS)).flatten(0, 1) for i in (0, 1))
    triads = triads[:, 0]  # [N B, 128]
    root = triads.argmax(1, keepdim=True)
    minor = triads.gather(1, (root + 3).clamp(max=PITCHES - 1))
    return melody[:, None], torch.cat([F.one_hot(root[:, 0] % 12, 12).to(minor), minor], dim=1)


def bars_before(melody: Tensor, bars: int) -> Tensor:
    """The bar before each bar [N B, 1, 16, 128]; before the first of each sample is nothing."""
    return F.pad(melody.unflatten(0, (-1, bars))[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1)


class Discriminator(nn.Module):
    """Rolls [N, 3, 16 B, 128] -> logits [N], the mean over bars; `judge` gives those of bars by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(BlockConv2d(1 + CHORD, 14, (2, PITCHES)), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(
            nn.Conv2d(14 + CHORD, 77, (4, 1), stride=(2, 1)), nn.BatchNorm2d(77), nn.LeakyReLU(0.2)
        )
        self.third = nn.Sequential(nn.Linear(77 * 3 + CHORD, 1024), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))
        self.output = nn.Linear(1024 + CHORD, 1)
        self.apply(initialize)

    def judge(self, bars: Tensor, chords: Tensor) -> tuple[Tensor, Tensor]:
        """Bars [M, 1, 16, 128] and chords [M, Y] -> logits [M] and the features of the first layer [M, 14, 8, 1]."""
        first = self.first(with_chord(bars, chords))
        second = self.second(with_chord(first, chords)).flatten(1)  # [M, 231]
        third = self.third(with_chord(second, chords))
        return self.output(with_chord(third, chords)).squeeze(1), first

    def forward(self, rolls: Tensor) -> Tensor:
        logits, _ = self.judge(*bars_of(rolls))
        return logits.view(len(rolls), -1).mean(1)


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


class MidiNet(ConditionalGAN):
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
        self.discriminator = Discriminator()

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, self.config.bars * STEPS, PITCHES)

    def init_from_data(self, data: Store) -> None:
        """Keep the chords of 64 training windows, which lie evenly over the training split."""
        train = data.indices("train")
        chosen = train[torch.linspace(0, len(train) - 1, NUM_PROGRESSIONS).long().numpy()]
        chords = bars_of(decode(data.samples[chosen]))[1]
        self.generator.progressions.copy_(chords.unflatten(0, (NUM_PROGRESSIONS, -1)))

    def prior(self, n: int, noise: Noise) -> Tensor:
        """[n, B Z]: N(0, I) for each bar."""
        return noise.normal(n, self.config.bars * self.config.latent_dim)

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        """[N, B Z + B Y]: with the chords of the generator's progressions in turn."""
        chords = self.generator.progressions[positions % NUM_PROGRESSIONS].cpu()
        return torch.cat([prior, chords.flatten(1)], dim=1)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Scores:
        return scores(tensor, latents, seed, self.config)

    def phases(self, train: MidiNetTrainConfig) -> list[Phase]:
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]

        def write(step: Step) -> tuple[Tensor, Tensor, Tensor]:
            """Bars that go on from real ones, the real ones in their place, and their chords."""
            melody, chords = bars_of(step.real)
            noise = step.noise.normal(len(step.real), self.config.bars * self.config.latent_dim).to(melody.device)
            written = generator.bar(noise.view(len(melody), -1), chords, bars_before(melody, self.config.bars))
            return written, melody, chords

        def judge(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                written, melody, chords = write(step)
            real, fake = discriminator.judge(melody, chords)[0], discriminator.judge(written, chords)[0]
            smooth = train.real_label * F.softplus(-real) + (1 - train.real_label) * F.softplus(real)
            return {"loss": smooth.mean() + F.softplus(fake).mean(), "real": real, "fake": fake}

        def play(step: Step) -> dict[str, Tensor]:
            written, melody, chords = write(step)
            logits, features = discriminator.judge(written, chords)
            with torch.no_grad():
                _, real_features = discriminator.judge(melody, chords)
            match_features = F.mse_loss(features.mean(0), real_features.mean(0), reduction="sum") / 2
            match_bars = F.mse_loss(written.mean(0), melody.mean(0), reduction="sum") / 2
            matched = train.match_features * match_features + train.match_bars * match_bars
            return {"loss": loss.generator(logits) + matched, "matching": matched}

        optimizer = make_optimizer(generator, train.generator)
        return [
            Phase(
                name="D", module=discriminator, loss=judge, optimizer=make_optimizer(discriminator, train.discriminator)
            ),
            *(
                Phase(name=name, module=generator, loss=play, optimizer=optimizer, interval=train.generator_interval)
                for name in ("G", "G-again")
            ),
        ]
