"""Vocoders of the same data beside one another: python benchmarks/vocoders.py [MODEL ...].

Each makes the same held-out pieces again from its own spectrograms of them. All are measured in the same terms: the
log-mel error in the 80 bands of HiFi-GAN's paper, from 0 Hz to half of the rate, whatever bands a model is given; and
the spectral convergence and log-magnitude distance over three resolutions. Griffin-Lim is measured beside each, on the
spectrograms that the model gets.

The speed is that of one thread, in alternating rounds: seconds of sound made in a second. Speeds of different machines
do not compare; the last column, which is relative to the first model, does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo.data import Store
from zoo.music.data.rendered import ROWS
from zoo.music.data.sounds import SoundDataConfig, decode, open_store
from zoo.music.mel import MelConfig, invert_mel, log_mel
from zoo.music.metrics.sounds import stft_distance


def read_pieces(store: Store, count: int) -> Tensor:
    """Read the first held-out pieces [N, T], each the rows that follow one another."""
    rows = store.indices("test")[: count * ROWS]
    return decode(store.samples[rows]).reshape(count, -1)


def measure(fake: Tensor, real: Tensor, rate: int) -> str:
    """Format the log-mel error, spectral convergence and log-magnitude distance of waves [N, T]."""
    length = min(fake.shape[1], real.shape[1])
    fake, real, mel = fake[:, :length], real[:, :length], MelConfig(rate=rate, high=0.0)
    errors = [float(F.l1_loss(log_mel(fake, mel), log_mel(real, mel))), *stft_distance(fake, real)]
    return " | ".join(f"{error:.3f}" for error in errors)


def time_rounds(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each side in turn; returns seconds, one a round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["music-hifigan", "music-vocos"], help="entries, folders or runs")
    parser.add_argument("--pieces", type=int, default=64, help="held-out pieces that are made again")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds of the speed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Any] = {name: zoo.load(name) for name in options.models}
    first = next(iter(models.values()))
    real = read_pieces(open_store(SoundDataConfig(name="rendered-music"), first.config), options.pieces)
    mels = {name: log_mel(real, model.config.mel) for name, model in models.items()}
    seconds = real.shape[1] / first.config.rate
    sides = {name: lambda name=name: models[name].vocode(mels[name][:1]) for name in models}  # type: ignore[misc]
    times = time_rounds(sides, options.rounds)
    print(f"{options.pieces} held-out pieces of rendered-music, {seconds:.1f} s each; one CPU thread")
    print("| | log-mel error | spectral convergence | log-magnitude distance | times real time | relative |")
    print("|---|---|---|---|---|---|")
    for name, model in models.items():
        with torch.no_grad():
            made = torch.cat([model.vocode(part)[:, 0] for part in mels[name].split(8)])
        guessed = invert_mel(mels[name], model.config.mel, iterations=32)
        ratios = [a / b for a, b in zip(times[options.models[0]], times[name], strict=True)]
        speed = f"{seconds / statistics.median(times[name]):.1f} | {statistics.median(ratios):.2f}x"
        errors = measure(made, real, model.config.rate)
        print(f"| `{name}` | {errors} | {speed} ({min(ratios):.2f} to {max(ratios):.2f}) |")
        print(f"| Griffin-Lim on its spectrograms | {measure(guessed, real, model.config.rate)} | | |")


if __name__ == "__main__":
    main()
