"""Write the sounds, pictures and clips of the pages on music and video: python docs/players.py [ENTRY ...]."""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile
import torch
from torch import Tensor

import zoo
from zoo.music.data.rendered import RenderedMusic
from zoo.music.mel import invert_mel, log_mel
from zoo.music.samples.sounds import Sounds
from zoo.noise import Noise
from zoo.video.architectures.vgan import compose

DOCS = Path(__file__).parent
PIECES = (7, 15, 23)  # of rendered-music, held out


def save(name: str, samples: Sounds, columns: int) -> None:
    samples.save(DOCS / f"{name}.png", columns=columns)
    soundfile.write(DOCS / f"{name}.mp3", samples.join(), samples.rate)


def save_scores(entry: str) -> None:
    samples = zoo.load(entry).sample(4, seed=1)
    samples.save(DOCS / f"{entry}.png", columns=2)
    waves = [torch.from_numpy(wave)[None, None] for wave in samples.waves()]
    soundfile.write(DOCS / f"{entry}.mp3", Sounds(tensor=torch.cat(waves), rate=22_050).join(), 22_050)


def save_hits(entry: str) -> None:
    save(entry, zoo.load(entry).sample(16, seed=0), columns=8)


def save_vocoder(entry: str) -> None:
    """Save three held-out pieces as the vocoder makes them; beside HiFi-GAN also as they are, and by Griffin-Lim."""
    model, name = zoo.load(entry), entry.removeprefix("music-")
    real = torch.stack([torch.from_numpy(RenderedMusic().render_piece(piece)).flatten() / 32768 for piece in PIECES])
    mel = log_mel(real, model.config.mel)
    versions: dict[str, Tensor] = {name: model.vocode(mel)[:, 0]}
    if name == "hifigan":
        versions |= {"real": real, "griffin-lim": invert_mel(mel, model.config.mel, iterations=32)}
    for version, waves in versions.items():
        save(f"vocoder-{version}", Sounds(tensor=waves[:, None], rate=model.config.rate), columns=len(PIECES))


def save_clips(entry: str) -> None:
    samples = zoo.load(entry).sample(16, seed=1)
    samples.save(DOCS / f"{entry}.webp", columns=8, scale=64 // samples.tensor.shape[-1])


def save_streams(entry: str) -> None:
    """Save four clips, a row each: the clip, its foreground, its mask and its background."""
    save_clips(entry)
    gan = zoo.load(entry)
    with torch.no_grad():
        foreground, mask, background = gan.generator.streams(gan.latents(4, Noise(1)))
    parts = [compose(foreground, mask, background), foreground, 2 * mask - 1, background]
    rows = torch.stack([part.expand_as(foreground) for part in parts], dim=1).flatten(0, 1)
    gan.output(rows).save(DOCS / f"{entry}-streams.webp", columns=len(parts))


def save_actions(entry: str) -> None:
    """Save all actions of four people, a row each, with one content code a row."""
    gan = zoo.load(entry)
    latents = gan.latents(4 * len(gan.labels), Noise(1))
    content = latents[:, : gan.config.content_dim].unflatten(0, (4, -1))
    content[:] = content[:, :1].clone()
    with torch.no_grad():
        gan.output(gan.generator(latents), latents).save(DOCS / f"{entry}.webp", columns=len(gan.labels))


WRITERS = {
    "music-musegan": save_scores,
    "music-midinet": save_scores,
    "music-wavegan": save_hits,
    "music-specgan": save_hits,
    "music-bigvgan": save_vocoder,
    "music-hifigan": save_vocoder,
    "music-vocos": save_vocoder,
    "video-mocogan": save_actions,
    "video-mocogan-shapes": save_clips,
    "video-styleganv": save_clips,
    "video-tgan": save_clips,
    "video-vgan": save_streams,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or [name for name in WRITERS if (Path(zoo.__file__).parent / "weights" / name).is_dir()]:
        WRITERS[name](name)
