"""This library against the textbook script, in one process and in turns: ratios, not times, since machines differ.

The textbook script is a DCGAN as tutorials write it: a plain `nn.Sequential` of the same layers in the default memory
format, default Adam, the discriminator's gradients left on in the generator's step, float32. That of a SeqGAN is the
nested loop over prefixes and rollouts, with `torch.multinomial`, and the same networks, in the paper's sizes. Those of
sounds are a plain generator, and for vocoders `transformers.SpeechT5HifiGan`. That of a MoCoGAN is the same networks in
the default memory format, with default Adam and the discriminators' gradients left on. Beside all of them stands the
share of this machine's own matrix-multiplication peak, measured in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.registry import Entry
from zoo.training.phases import Phase, Step, trainable

BATCH = 64
ROLLOUTS = 16


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One task, timed in alternating rounds."""

    task: str
    ours: list[float]  # seconds, a round each
    textbook: list[float]
    gflop: float  # of the textbook's work, which both must get done
    peak_gflops: list[float]

    @property
    def ratio(self) -> float:
        """Throughput against the textbook's: the median over rounds of the two times of a round."""
        return statistics.median(t / o for o, t in zip(self.ours, self.textbook, strict=True))

    def line(self) -> str:
        peak = statistics.median(self.peak_gflops)
        shares = [self.gflop / statistics.median(times) / peak for times in (self.ours, self.textbook)]
        low, high = min(self._ratios()), max(self._ratios())
        return (
            f"{self.task:<28} {self.ratio:.2f}x ({low:.2f} to {high:.2f})   "
            f"{shares[0]:.0%} of the matrix-multiplication peak, textbook {shares[1]:.0%}"
        )

    def _ratios(self) -> list[float]:
        return [t / o for o, t in zip(self.ours, self.textbook, strict=True)]


def run_bench(entry: Entry, *, rounds: int = 15) -> str:
    """Compare the tasks of an architecture with their textbook script at batch 64; returns lines to print.

    Raises InvalidValueError for an architecture that no script stands for.
    """
    tasks = {
        "zoo.faces.dcgan:DCGAN": (compare_sampling, compare_training),
        "zoo.music.sounds.hifigan:HiFiGAN": (compare_vocoding,),
        "zoo.music.sounds.wavegan:WaveGAN": (compare_sounds,),
        "zoo.text.seqgan:SeqGAN": (compare_completions, compare_reward),
        "zoo.video.mocogan:MoCoGAN": (compare_clips,),
    }
    if entry.architecture not in tasks:
        raise InvalidValueError(
            f"{entry.name}: there is a textbook script to compare with for {' and '.join(tasks)} only"
        )
    recipe = load_recipe(entry)
    threads = torch.get_num_threads()
    lines = [f"{entry.name}, batch {BATCH} unless said otherwise, {threads} threads, {rounds} rounds in turns"]
    return "\n".join([*lines, *(compare(recipe, rounds).line() for compare in tasks[entry.architecture])])


def compare_sampling(recipe: Recipe, rounds: int) -> Comparison:
    """`model.sample(64)` against the plain generator in evaluation mode on as many latents."""
    gan: GAN = recipe.build().eval()
    generator, _ = textbook_players(recipe)
    return _sampling(gan, generator.eval(), lambda: torch.randn(BATCH, recipe.model.latent_dim, 1, 1), rounds)


def compare_training(recipe: Recipe, rounds: int) -> Comparison:
    """One turn of D and G through this library's phases, without penalties, against the textbook's step."""
    gan: GAN = channels_last(recipe.build()).requires_grad_(False)
    phases = [phase for phase in gan.phases(recipe.train) if phase.name in ("D", "G")]
    real = torch.rand(BATCH, *gan.sample_shape) * 2 - 1
    ours = _turn_of(gan, phases, real.contiguous(memory_format=torch.channels_last))
    return _alternate("training step (D and G)", ours, textbook_step(recipe, real), rounds)


def compare_completions(recipe: Recipe, rounds: int) -> Comparison:
    """The texts of one SeqGAN search at the paper's 16 rollouts: all prefixes at once against the nested loop."""
    from zoo.text.bench import multinomial_completions

    from zoo.text.rollout import completions

    gan: GAN = recipe.architecture_class(recipe.architecture_class.Config()).eval()
    tokens, policy = gan.sample(BATCH, seed=0).tensor, gan.generator

    def ours() -> None:
        completions(policy, tokens, ROLLOUTS, Noise(0))  # type: ignore[arg-type]

    def textbook() -> None:
        multinomial_completions(policy, tokens, ROLLOUTS, Noise(0))  # type: ignore[arg-type]

    return _alternate(f"{ROLLOUTS} rollouts", ours, textbook, rounds)


def compare_reward(recipe: Recipe, rounds: int) -> Comparison:
    """One whole reward of SeqGAN, rollouts and discriminator."""
    from zoo.text.bench import plain_reward

    gan: Any = recipe.architecture_class(recipe.architecture_class.Config()).eval()
    tokens = gan.sample(BATCH, seed=0).tensor
    train: Any = recipe.train
    train = replace(train, rollouts=ROLLOUTS, reward="discriminator")

    def ours() -> None:
        with torch.no_grad():
            gan.reward(tokens, gan.generator, train, Noise(0))

    return _alternate("rollouts and their judgement", ours, lambda: plain_reward(gan, tokens, ROLLOUTS), rounds)


def compare_sounds(recipe: Recipe, rounds: int) -> Comparison:
    """`model.sample(64)` against the generator with its filter as a convolution, on as many latents."""
    from zoo.music.sounds.bench import plain_wavegan

    gan: Any = recipe.build().eval()
    return _sampling(gan, plain_wavegan(gan), lambda: gan.latents(BATCH, Noise(0)), rounds)


def compare_vocoding(recipe: Recipe, rounds: int) -> Comparison:
    """HiFi-GAN's V2 on 256 frames against `transformers.SpeechT5HifiGan` of the same weights, no weight norm in it."""
    from zoo.music.sounds.bench import speecht5_vocoders

    theirs, ours, mel = speecht5_vocoders()

    def textbook() -> None:
        with torch.no_grad():
            theirs(mel[0].T)

    return _alternate("V2 vocoder, 256 frames", lambda: ours.vocode(mel), textbook, rounds)


def compare_clips(recipe: Recipe, rounds: int) -> Comparison:
    """One turn of MoCoGAN, width 32, two judges, no penalty: this library's phases against its step written plainly."""
    from zoo.video.bench import plain_step

    n = 16
    model = replace(recipe.model, width=32, discriminator_noise=0.0, content_width=0)
    recipe = replace(recipe, model=model, train=replace(recipe.train, r1_gamma=0.0))
    gan: Any = channels_last(recipe.build()).requires_grad_(False)
    real = torch.rand(n, *gan.sample_shape) * 2 - 1
    labels = torch.arange(n) % recipe.model.labels if recipe.model.labels else None
    ours = _turn_of(gan, gan.phases(recipe.train), real.contiguous(memory_format=torch.channels_last_3d), labels=labels)
    plain = plain_step(recipe.build(), real, labels)  # type: ignore[arg-type]
    return _alternate(f"training step, {n} clips", ours, plain, rounds)


def textbook_players(recipe: Recipe) -> tuple[nn.Sequential, nn.Sequential]:
    """Generator and discriminator of the recipe's sizes as the tutorials write them."""
    gan: GAN = recipe.build()
    return gan.generator.main, gan.discriminator.main  # type: ignore[return-value]


def textbook_step(recipe: Recipe, real: Tensor) -> Callable[[], None]:
    """The tutorials' training step on the real images [N, 3, 64, 64]."""
    generator, discriminator = textbook_players(recipe)
    criterion = nn.BCEWithLogitsLoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

    def step() -> None:
        discriminator.zero_grad()
        criterion(discriminator(real).view(-1), ones).backward()
        fake = generator(torch.randn(len(real), recipe.model.latent_dim, 1, 1))
        criterion(discriminator(fake.detach()).view(-1), zeros).backward()
        optimizer_d.step()
        generator.zero_grad()
        criterion(discriminator(fake).view(-1), ones).backward()
        optimizer_g.step()

    return step


def _sampling(gan: GAN, plain: nn.Module, latents: Callable[[], Tensor], rounds: int) -> Comparison:
    """`gan.sample(64)` against the plain generator on latents drawn as plainly."""

    def textbook() -> None:
        with torch.no_grad():
            plain(latents())

    return _alternate("sampling", lambda: gan.sample(BATCH, seed=0, batch_size=BATCH), textbook, rounds)


def _turn_of(gan: GAN, phases: list[Phase], real: Tensor, labels: Tensor | None = None) -> Callable[[], None]:
    """A turn of the game on the same real samples, each phase as the loop plays it."""
    noise = Noise(0)

    def play() -> None:
        turn = Step(gan, real, noise, generator_plays=True, labels=labels)
        for phase in phases:
            with trainable(phase.module):
                loss = phase.loss(step)["loss"]
                phase.optimizer.zero_grad(set_to_none=True)
                loss.backward()
            phase.optimizer.step()

    return play


def _alternate(task: str, ours: Callable[[], object], textbook: Callable[[], object], rounds: int) -> Comparison:
    with FlopCounterMode(display=False) as counter:
        textbook()
    ours()
    times: dict[str, list[float]] = {"ours": [], "textbook": [], "peak": []}
    a, b = torch.randn(2, 1024, 1024)
    for _ in range(rounds):
        for name, run in (("ours", ours), ("textbook", textbook), ("peak", lambda: a @ b)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return Comparison(
        task=task,
        ours=times["ours"],
        textbook=times["textbook"],
        gflop=counter.get_total_flops() / 1e9,
        peak_gflops=[2 * 1024**3 / 1e9 / seconds for seconds in times["peak"]],
    )
