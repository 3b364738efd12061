"""Write what the pages of music and video let one see and hear: python docs/players.py [ENTRY ...]."""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile
import torch
from torch import Tensor

import zoo
from zoo.music.data.rendered import RenderedMusic
from zoo.music.mel import log_mel, wave_from_mel
from zoo.music.samples.sounds import Sounds
from zoo.noise import Noise
from zoo.video.architectures.vgan import composed

DOCS = Path(__file__).parent
PIECES = (7, 15, 23)  # of rendered-music, held out


def write(name: str, samples: Sounds, columns: int) -> None:
    samples.save(DOCS / f"{name}.png", columns=columns)
    soundfile.write(DOCS / f"{name}.mp3", samples.joined(), samples.rate)


def scores(entry: str) -> None:
    samples = zoo.load(entry).sample(4, seed=1)
    samples.save(DOCS / f"{entry}.png", columns=2)
    waves = [torch.from_numpy(wave)[None, None] for wave in samples.waves()]
    soundfile.write(DOCS / f"{entry}.mp3", Sounds(tensor=torch.cat(waves), rate=22_050).joined(), 22_050)


def hits(entry: str) -> None:
    write(entry, zoo.load(entry).sample(16, seed=0), columns=8)


def vocoder(entry: str) -> None:
    """Three held-out pieces in a row, as they are, by Griffin-Lim, and by the vocoder."""
    model = zoo.load(entry)
    real = torch.stack([torch.from_numpy(RenderedMusic().piece(piece)).flatten() / 32768 for piece in PIECES])
    mel = log_mel(real, model.config.mel)
    made: dict[str, Tensor] = {
        "real": real,
        "griffin-lim": wave_from_mel(mel, model.config.mel, iterations=32),
        "hifigan": model.vocode(mel)[:, 0],
    }
    for name, waves in made.items():
        write(f"vocoder-{name}", Sounds(tensor=waves[:, None], rate=model.config.rate), columns=len(PIECES))


def clips(entry: str) -> None:
    zoo.load(entry).sample(16, seed=1).save(DOCS / f"{entry}.webp", columns=8)


def streams(entry: str) -> None:
    """Of four clips the clip, its foreground, its mask and its background, a row each."""
    clips(entry)
    gan = zoo.load(entry)
    with torch.no_grad():
        foreground, mask, background = gan.generator.streams(gan.latents(4, Noise(1)))
    parts = [composed(foreground, mask, background), foreground, 2 * mask - 1, background]
    rows = torch.stack([part.expand_as(foreground) for part in parts], dim=1).flatten(0, 1)
    gan.output(rows).save(DOCS / f"{entry}-streams.webp", columns=len(parts))


def actions(entry: str) -> None:
    """Four people, a row each, and all actions of each: one content code a row."""
    gan = zoo.load(entry)
    latents = gan.latents(4 * len(gan.labels), Noise(1))
    content = latents[:, : gan.config.content_dim].unflatten(0, (4, -1))
    content[:] = content[:, :1].clone()
    with torch.no_grad():
        gan.output(gan.generator(latents), latents).save(DOCS / f"{entry}.webp", columns=len(gan.labels))


MADE_BY = {
    "music-musegan": scores,
    "music-midinet": scores,
    "music-wavegan": hits,
    "music-specgan": hits,
    "music-hifigan": vocoder,
    "video-mocogan": actions,
    "video-mocogan-shapes": clips,
    "video-styleganv": clips,
    "video-vgan": streams,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or [name for name in MADE_BY if (Path(zoo.__file__).parent / "weights" / name).is_dir()]:
        MADE_BY[name](name)
