"""Samples of a model of sounds: waves that can be saved and played."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from zoo.io.atomic import replace_atomically
from zoo.music.samples.player import Playable
from zoo.samples import tile

SILENCE_SECONDS = 0.25  # between two sounds of one file


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sounds(Playable):
    """Waves [N, 1, T] in [-1, 1] at `rate` Hz.

    `save` chooses the format by the suffix of the path:

    - .wav and .flac: all sounds one after the other, with a quarter of a second of silence between them.
    - .png: a picture of their spectrograms.
    - no suffix: a folder with one .wav for each sound, named by its class if there are classes.
    """

    rate: int
    labels: Sequence[str] = ()
    """The class of each sound."""

    SUFFIXES = (".wav", ".flac", ".png")
    CARD_SUFFIXES = (".flac", ".png")
    CARD_COUNT = 16

    def __getitem__(self, index: slice | int) -> Self:
        return replace(super().__getitem__(index), labels=self.labels[self._slice(index)])

    def to_int16(self) -> np.ndarray:
        """Convert to int16 [N, T]; numbers beyond [-1, 1] are cut."""
        scaled = self.tensor.detach().float().cpu()[:, 0].mul(32767).round().clamp(-32768, 32767)
        return scaled.to(torch.int16).numpy()

    def join(self) -> np.ndarray:
        """Join all sounds in one int16 [T'], with silence between them."""
        silence = np.zeros(int(SILENCE_SECONDS * self.rate), dtype=np.int16)
        parts = [part for wave in self.to_int16() for part in (wave, silence)]
        return np.concatenate(parts[:-1])

    def spectrograms(self, columns: int | None = None) -> Image.Image:
        """Draw spectrograms, arranged as in `zoo.samples.tile`.

        Time goes to the right, frequency upwards on the mel scale. From black to white are 80 dB.
        """
        from zoo.music.mel import MelConfig, log_mel

        waves = self.tensor.detach().float().cpu()[:, 0]
        config = MelConfig(rate=self.rate, mels=96, fft=1024, hop=_choose_hop(waves.shape[1]), high=0.0)
        waves = F.pad(waves, (0, max(0, config.fft - waves.shape[1])))  # silence after sounds shorter than a frame
        decibels = log_mel(waves, config) * (20 / np.log(10))
        shades = ((decibels - decibels.amax()) / 80 + 1).clamp(0, 1).flip(1)  # [N, 96, F]
        return Image.fromarray(tile(_color(shades.numpy()), columns, padding=4))

    def to_numpy(self) -> np.ndarray:
        """Convert to float32 [N, T] in [-1, 1]."""
        return self.tensor.detach().float().cpu()[:, 0].clamp(-1, 1).numpy()

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        suffix = path.suffix.lower()
        if suffix == ".png":
            with replace_atomically(path) as temporary:
                picture = ImageOps.scale(self.spectrograms(columns), scale, Image.Resampling.NEAREST)
                picture.quantize(dither=Image.Dither.NONE).save(temporary)  # exact: no more than 256 colors
        elif suffix:
            _write(path, self.join(), self.rate)
        else:
            self._write_folder(path, scale)

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        for i, (number, wave) in enumerate(zip(numbers, self.to_int16(), strict=True)):
            name = f"{number}-{self.labels[i]}" if self.labels else number
            _write(folder / f"{name}.wav", wave, self.rate)
            yield

    def show_on(self, writer: Any, name: str, step: int) -> None:
        writer.add_image(name, np.asarray(self[:16].spectrograms()), step, dataformats="HWC")
        for i, wave in enumerate(self[:4].to_numpy()):
            writer.add_audio(f"{name}/{i}", wave[None], step, sample_rate=self.rate)

    def _repr_html_(self) -> str:
        """Return the notebook's preview: a player for each of the first 16 sounds."""
        from base64 import b64encode

        cells = []
        for i, wave in enumerate(self[:16].to_int16()):
            source = b64encode(_encode_wav(wave, self.rate)).decode()
            name = self.labels[i] if self.labels else str(i)
            cells.append(
                f"<figure style='margin: 0 1em 1em 0'><figcaption>{name}</figcaption>"
                f"<audio controls src='data:audio/wav;base64,{source}'></audio></figure>"
            )
        return f"<div style='display: flex; flex-wrap: wrap'>{''.join(cells)}</div>"


def _write(path: Path, wave: np.ndarray, rate: int) -> None:
    import soundfile

    with replace_atomically(path) as temporary:
        soundfile.write(temporary, wave, rate, subtype="PCM_16")


def _encode_wav(wave: np.ndarray, rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _choose_hop(length: int) -> int:
    """Return the hop between frames that gives a wave about 128 of them."""
    return min(1024, max(32, length // 128))


_SHADES = 255  # with the white between spectrograms, as many colors as a palette has
_STOPS = np.array([[0, 0, 4], [60, 15, 110], [180, 50, 90], [250, 140, 10], [252, 255, 164]], dtype=np.float32)


def _color(shades: np.ndarray) -> np.ndarray:
    """Color shades [N, H, W] in [0, 1] as uint8 [N, H, W, 3], from black over violet and orange to light yellow."""
    places = np.linspace(0, 1, len(_STOPS))
    rounded = np.round(shades * (_SHADES - 1)) / (_SHADES - 1)
    channels = [np.interp(rounded, places, _STOPS[:, i]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
