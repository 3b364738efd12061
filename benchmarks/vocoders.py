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
from typing import Any

import torch
import torch.nn.functional as F
from rounds import time_rounds
from torch import Tensor

import zoo
from zoo.music.data.rendered import ROWS
from zoo.music.data.sounds import SoundDataConfig, open_store
from zoo.music.mel import MelConfig, invert_mel, log_mel
from zoo.music.metrics.sounds import read_held_out_sounds, stft_distance


def measure(fake: Tensor, real: Tensor, rate: int) -> str:
    """Format the log-mel error, spectral convergence and log-magnitude distance of waves [N, T]."""
    length = min(fake.shape[1], real.shape[1])
    fake, real, mel = fake[:, :length], real[:, :length], MelConfig(rate=rate, high=0.0)
    errors = [float(F.l1_loss(log_mel(fake, mel), log_mel(real, mel))), *stft_distance(fake, real)]
    return " | ".join(f"{error:.3f}" for error in errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["music-hifigan", "music-vocos"], help="entries, folders or runs")
    parser.add_argument("--pieces", type=int, default=64, help="held-out pieces that are made again")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds of the speed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Any] = {name: zoo.load(name, device="cpu") for name in options.models}
    first = next(iter(models.values()))
    store = open_store(SoundDataConfig(name="rendered-music"), first.config)
    real = torch.stack(read_held_out_sounds(store, options.pieces * ROWS))
    mels = {name: log_mel(real, model.config.mel) for name, model in models.items()}
    seconds = real.shape[1] / first.config.rate
    sides = {name: lambda name=name: models[name].vocode(mels[name][:1]) for name in models}  # type: ignore[misc]
    time_rounds(sides, 1)  # the first calls are slower
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
