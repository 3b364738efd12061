"""This library against textbook scripts, in one process and in alternation: python benchmarks/textbook.py [ENTRY].

The result is a ratio: how much more than the textbook's throughput this library has on this machine. 1.2x means 20 %
more samples or steps in the same time. Times are not printed, since machines differ.

What a textbook script is:

- faces-dcgan: a DCGAN as tutorials write it, a plain `nn.Sequential` of the same layers in the default memory format
  with default Adam, the discriminator's gradients on in the generator's step, float32. Both sides train on one batch
  that is in memory. What only our loop has is left out: data, gradient norms, the average of the weights.
- faces-stylegan2, faces-stylegan2-small: its networks in plain operations, as public code falls back to without its own
  kernels: resampling by inserted zeros, and convolutions whose weights differ from sample to sample.
- text-seqgan: the nested loop over prefixes and rollouts with `torch.multinomial`, networks in the paper's sizes.
- music-wavegan: the plain generator. music-hifigan: `transformers.SpeechT5HifiGan` with the same weights.
- video-mocogan: the same networks in the default memory format with default Adam, the discriminators' gradients on.

The second half of a line tells how hard each side works: the floating-point operations that it does itself, as a share
of what this machine does in a matrix multiplication of 1024 x 1024, measured in between. A side that saves work, as by
fused batch norms, has fewer operations. The share of a convolution can exceed 100 %, because it is computed with fewer
multiplications than are counted (Winograd), and because a small matrix multiplication has its own overhead.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from plain_images import make_textbook_networks, make_textbook_step
from plain_sounds import make_plain_wavegan, make_vocoders
from plain_stylegan2 import make_plain_step
from plain_text import complete_by_multinomial, compute_plain_reward
from plain_video import plain_step
from rounds import time_rounds
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import count
from zoo.gan import GAN
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.text.rollout import complete_prefixes
from zoo.training.phases import Phase, Step, trainable

BATCH = 64
ROLLOUTS = 16


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One task, timed in alternating rounds; times are in seconds, one a round."""

    task: str
    ours: list[float]
    textbook: list[float]
    matmul: list[float]
    our_gflop: float
    textbook_gflop: float

    @property
    def ratios(self) -> list[float]:
        """Our throughput over the textbook's, by round."""
        return [textbook / ours for ours, textbook in zip(self.ours, self.textbook, strict=True)]

    def format_line(self) -> str:
        matmul = 2 * 1024**3 / 1e9 / statistics.median(self.matmul)  # GFLOP/s
        work = [
            f"{gflop:.1f} GFLOP at {gflop / statistics.median(times) / matmul:.0%}"
            for gflop, times in ((self.our_gflop, self.ours), (self.textbook_gflop, self.textbook))
        ]
        return (
            f"{self.task:<28} {statistics.median(self.ratios):.2f}x ({min(self.ratios):.2f} to {max(self.ratios):.2f})"
            f"   ours {work[0]} of the matrix multiplication's rate, textbook {work[1]}"
        )


def compare_sampling(recipe: Recipe, rounds: int) -> Comparison:
    """Compare `model.sample(64)` with the plain generator in evaluation mode on as many latents."""
    gan = recipe.build().eval()
    generator, _ = make_textbook_networks(recipe)
    return _compare_sampling(gan, generator.eval(), lambda: torch.randn(BATCH, recipe.model.latent_dim, 1, 1), rounds)


def compare_training(recipe: Recipe, rounds: int) -> Comparison:
    """Compare one step of D and G through this library's phases, without penalties, with the textbook's step."""
    return _compare_training(recipe, rounds, BATCH, make_textbook_step)


def compare_styled_training(recipe: Recipe, rounds: int) -> Comparison:
    """Compare one step of D and G of StyleGAN2 at batch 16, without penalties, with the step in plain operations."""
    return _compare_training(recipe, rounds, 16, make_plain_step)


def compare_completions(recipe: Recipe, rounds: int) -> Comparison:
    """Compare one SeqGAN search at the paper's 16 rollouts: all prefixes at once, and the nested loop."""
    gan: Any = recipe.architecture_class(recipe.architecture_class.Config()).eval()
    tokens, policy = gan.sample(BATCH, seed=0).tensor, gan.generator
    return alternate(
        f"{ROLLOUTS} rollouts",
        lambda: complete_prefixes(policy, tokens, ROLLOUTS, Noise(0)),
        lambda: complete_by_multinomial(policy, tokens, ROLLOUTS, Noise(0)),
        rounds,
    )


def compare_reward(recipe: Recipe, rounds: int) -> Comparison:
    """Compare one whole reward of SeqGAN: rollouts and discriminator."""
    gan: Any = recipe.architecture_class(recipe.architecture_class.Config()).eval()
    tokens = gan.sample(BATCH, seed=0).tensor
    train: Any = replace(recipe.train, rollouts=ROLLOUTS, reward="discriminator")  # type: ignore[call-arg]

    def ours() -> None:
        with torch.no_grad():
            gan.reward(tokens, gan.generator, train, Noise(0))

    return alternate("rollouts and their rewards", ours, lambda: compute_plain_reward(gan, tokens, ROLLOUTS), rounds)


def compare_sounds(recipe: Recipe, rounds: int) -> Comparison:
    """Compare `model.sample(64)` with the generator whose filter is a convolution, on as many latents."""
    gan: Any = recipe.build().eval()
    return _compare_sampling(gan, make_plain_wavegan(gan), lambda: gan.latents(BATCH, Noise(0)), rounds)


def compare_vocoding(recipe: Recipe, rounds: int) -> Comparison:
    """Compare HiFi-GAN's V2 on 256 frames with `transformers.SpeechT5HifiGan` of the same weights."""
    theirs, ours, mel = make_vocoders()

    def textbook() -> None:
        with torch.no_grad():
            theirs(mel[0].T)

    return alternate("V2 vocoder, 256 frames", lambda: ours.vocode(mel), textbook, rounds)


def compare_clips(recipe: Recipe, rounds: int) -> Comparison:
    """Compare one step of MoCoGAN, width 32, two discriminators, no penalty, with its step written plainly."""
    n = 16
    model = replace(recipe.model, width=32, discriminator_noise=0.0, content_width=0)
    recipe = replace(recipe, model=model, train=replace(recipe.train, r1_gamma=0.0))
    gan: Any = channels_last(recipe.build()).requires_grad_(False)
    real = torch.rand(n, *gan.sample_shape) * 2 - 1
    labels = torch.arange(n) % recipe.model.labels if recipe.model.labels else None
    ours = make_step(gan, gan.phases(recipe.train), real.contiguous(memory_format=torch.channels_last_3d), labels)
    plain = plain_step(recipe.build(), real, labels)  # type: ignore[arg-type]
    return alternate(f"training step, {n} clips", ours, plain, rounds)


COMPARISONS: dict[str, tuple[Callable[[Recipe, int], Comparison], ...]] = {
    "faces-dcgan": (compare_sampling, compare_training),
    "faces-stylegan2": (compare_styled_training,),
    "faces-stylegan2-small": (compare_styled_training,),
    "music-hifigan": (compare_vocoding,),
    "music-wavegan": (compare_sounds,),
    "text-seqgan": (compare_completions, compare_reward),
    "video-mocogan": (compare_clips,),
}


def make_step(gan: GAN, phases: list[Phase], real: Tensor, labels: Tensor | None = None) -> Callable[[], None]:
    """Make a training step on the same real samples, each phase as the loop runs it but for norms and checks."""
    noise = Noise(0)

    def run() -> None:
        step = Step(gan, real, noise, train_generator=True, labels=labels)
        for phase in phases:
            with trainable(phase.module):
                loss = phase.loss(step)["loss"]
                phase.optimizer.zero_grad(set_to_none=True)
                loss.backward()
            phase.optimizer.step()

    return run


def _compare_training(
    recipe: Recipe, rounds: int, batch: int, make_plain: Callable[[Recipe, Tensor], Callable[[], None]]
) -> Comparison:
    gan = channels_last(recipe.build()).requires_grad_(False)
    phases = [phase for phase in gan.phases(recipe.train) if phase.name in ("D", "G")]
    real = torch.rand(batch, *gan.sample_shape) * 2 - 1
    ours = make_step(gan, phases, real.contiguous(memory_format=torch.channels_last))
    return alternate(f"training step, batch {batch}", ours, make_plain(recipe, real), rounds)


def _compare_sampling(gan: GAN, plain: nn.Module, draw: Callable[[], Tensor], rounds: int) -> Comparison:
    """Compare `gan.sample(64)` with the plain generator on latents that are drawn as plainly."""

    def textbook() -> None:
        with torch.no_grad():
            plain(draw())

    return alternate("sampling", lambda: gan.sample(BATCH, seed=0, batch_size=BATCH), textbook, rounds)


def alternate(task: str, ours: Callable[[], object], textbook: Callable[[], object], rounds: int) -> Comparison:
    """Time both sides and a matrix multiplication in turn, and count the operations of each side."""
    a, b = torch.randn(2, 1024, 1024)
    sides: dict[str, Callable[[], object]] = {"ours": ours, "textbook": textbook, "matmul": lambda: a @ b}
    gflop = {name: count_gflop(run) for name, run in sides.items()}
    times = time_rounds(sides, rounds)
    return Comparison(task=task, **times, our_gflop=gflop["ours"], textbook_gflop=gflop["textbook"])


def count_gflop(run: Callable[[], object]) -> float:
    """Count the floating-point operations of a call, in billions; it also warms up."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entry", nargs="?", default="faces-dcgan", choices=list(COMPARISONS))
    parser.add_argument("--rounds", type=int, default=15, help="alternating rounds; the median ratio is printed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.entry}, {count(options.threads, 'CPU thread')}, {options.rounds} alternating rounds")
    for compare in COMPARISONS[options.entry]:
        print(compare(load_recipe(options.entry), options.rounds).format_line())


if __name__ == "__main__":
    main()
