"""Sounds to train on: drum hits, rendered music, or your own sound files.

A sound is a row of int16 samples [T]. The store keeps the names of its classes in labels.json.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.data import About, Rows, Store, build_store, cache_dir, hash_split
from zoo.data.labels import LABELS, check_labels
from zoo.data.own import describe_files, find_own_files, list_files, name_unreadable
from zoo.data.rows import to_tensor
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, suggest
from zoo.music.data import drums
from zoo.music.data.instruments import ROLES, load_recordings
from zoo.music.data.rendered import RenderedMusic
from zoo.music.mel import resample
from zoo.recipe import DataConfig, within

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = ["DATASETS", "SoundDataConfig", "build_dataset", "decode", "open_store", "read_sound"]

PEAK = 0.95  # of every sound, before its copies are changed
SILENT = 1e-3  # a sound with a lower peak is silent
LEAST_RATE, MOST_RATE = 1000, 1_000_000  # Hz of a sound file
MOST_SAMPLES = 100_000_000  # of a file: 38 minutes at 44.1 kHz, 400 MB
FULL_SCALE = 0.999  # from here on a sample counts as clipped
CANCELED = 0.1  # the level of channels' mean over that of the strongest one, below which they cancel one another
OFFSET_SECONDS = 0.1  # two periods of the lowest audible tone: of a shorter sound the offset is not known
FOLDER_VERSION = 2  # raised when files become other rows
SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3")

Log = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SoundDataConfig(DataConfig):
    """Where the sounds come from, and how files become rows. `rendered-music` is rendered row by row instead."""

    copies: int = field(default=1, metadata=within(1, 256))
    """Rows of each sound: itself, and copies changed by up to a semitone in pitch, 6 dB and 10 ms."""
    cut: Literal["all", "first"] = "all"
    """What is kept of a sound longer than a row: `all`, row by row, or the `first` row, which fades out."""
    balanced: bool = False
    """Show each class as often as any other, however rare it is."""


_BLOCK = 1 << 20  # samples; a file that was written to a pipe does not say how many it has


def read_sound(source: Path | bytes, name: str = "") -> tuple[Tensor, int]:
    """Read a sound file as float32 [T] in [-1, 1], without its DC offset; returns also its rate in Hz.

    Channels are averaged. Where they cancel one another, the strongest one is taken. At most MOST_SAMPLES are read.

    It warns of a clipped file and of one that is longer. Raises InvalidFileError where it is not a sound file, is empty
    or silent, or has numbers that are not finite.
    """
    name = name or str(source)
    wave, rate, is_longer = _read_piece(source, name, 0)
    if is_longer:
        minutes = MOST_SAMPLES / rate / 60
        warnings.warn(f"{name}: only its first {minutes:.0f} minutes are read; cut it into files", stacklevel=2)
    with name_unreadable(name):
        _check_loud(wave)
    return wave, rate


def read_pieces(source: Path) -> Iterator[tuple[Tensor, int]]:
    """Read a sound file of any length as `read_sound` does, in pieces of at most MOST_SAMPLES, without silent ones.

    Raises as `read_sound`.
    """
    num_loud, is_longer = 0, True
    for piece in itertools.count():
        wave, rate, is_longer = _read_piece(source, str(source), piece)
        if float(wave.abs().max()) >= SILENT:
            num_loud += 1
            yield wave, rate
        if not is_longer:
            break
    if not num_loud:
        with name_unreadable(str(source)):
            _check_loud(wave)


def _read_piece(source: Path | bytes, name: str, piece: int) -> tuple[Tensor, int, bool]:
    """Read a piece of a sound file; returns also the rate, and whether the file goes on. Warns of a clipped one."""
    with name_unreadable(name):
        wave, rate, clipped, is_longer = _mix_channels(source, start=piece * MOST_SAMPLES)
        wave -= _measure_offset(wave, rate)
    if clipped >= 8:
        warnings.warn(f"{name}: clipped: {clipped} samples in a row are at full scale", stacklevel=3)
    return torch.from_numpy(wave), rate, is_longer


def _check_loud(wave: Tensor) -> None:
    peak = float(wave.abs().max())
    if peak < SILENT:
        raise InvalidFileError(f"silent: its loudest sample is {peak:.2g} of full scale")


def _measure_offset(wave: np.ndarray, rate: int) -> float:
    """Measure the DC offset of a wave [T]: the median or the mean of its samples, whichever is nearer to zero.

    An offset moves both. Narrow peaks move one of them, or the two apart. A sound below OFFSET_SECONDS has none: its
    few periods would move both, too.
    """
    if len(wave) < OFFSET_SECONDS * rate:
        return 0.0
    median = float(np.median(wave))
    return float(np.clip(wave.mean(dtype=np.float64), min(0.0, median), max(0.0, median)))


def _mix_channels(source: Path | bytes, *, start: int = 0) -> tuple[np.ndarray, int, int, bool]:
    """Read a sound file as float32 [T], block by block, with channels averaged, or the strongest one if they cancel.

    It begins at sample `start` and ends after MOST_SAMPLES. Returns also its rate in Hz, the most samples in a row at
    full scale, and whether the file goes on.
    """
    blocks: list[np.ndarray] = []
    full: list[np.ndarray] = []
    count, sums, squares = 0, np.zeros(1), np.zeros(1)  # of each channel, and of their mean
    with _open_sound(source) as file:
        rate = file.samplerate
        if not LEAST_RATE <= rate <= MOST_RATE:
            raise InvalidFileError(f"has {rate} samples a second; {LEAST_RATE:,} to {MOST_RATE:,} are read")
        for block in _read_blocks(file, start):
            if not np.isfinite(block).all():
                raise InvalidFileError("holds numbers that are not finite")
            blocks.append(block.mean(axis=1))
            full.append(np.abs(block).max(axis=1) >= FULL_SCALE)
            all_of_them = np.column_stack([block, blocks[-1]]).astype(np.float64)
            count, sums, squares = count + len(block), sums + all_of_them.sum(0), squares + (all_of_them**2).sum(0)
    if not count:
        raise InvalidFileError("an empty sound, of zero length")
    *levels, mixed_level = np.sqrt((squares / count - (sums / count) ** 2).clip(0))
    if mixed_level < CANCELED * max(levels):
        strongest = int(np.argmax(levels))
        with _open_sound(source) as file:
            blocks = [block[:, strongest].copy() for block in _read_blocks(file, start)]
    with _open_sound(source) as file:
        is_longer = count == MOST_SAMPLES and next(_read_blocks(file, start + count), None) is not None
    return np.concatenate(blocks), rate, count_clipped(np.concatenate(full)), is_longer


def _open_sound(source: Path | bytes) -> SoundFile:
    from soundfile import SoundFile

    file = SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    file.seekable = lambda: False  # it seeks to an end that it does not know
    return file


def _read_blocks(file: SoundFile, start: int) -> Iterator[np.ndarray]:
    """Read blocks of samples float32 [n, channels], from `start` at most MOST_SAMPLES of each channel."""
    left, size = MOST_SAMPLES, max(1, _BLOCK // file.channels)
    while start:  # a file that was written to a pipe cannot be searched
        start -= len(file.read(min(size, start), dtype="float32", always_2d=True)) or start
    while left and len(block := file.read(min(size, left), dtype="float32", always_2d=True)):
        left -= len(block)
        yield block


def count_clipped(full: np.ndarray) -> int:
    """Count the most samples in a row at full scale, where bool [T] is true."""
    runs = np.flatnonzero(np.diff(full.astype(np.int8), prepend=0, append=0))
    return int((runs[1::2] - runs[::2]).max(initial=0))


def trim(wave: Tensor, *, before: int = 16) -> Tensor:
    """Cut the start of a wave, up to `before` samples ahead of the first one above a hundredth of its peak."""
    loud = wave.abs() > wave.abs().max() / 100
    return wave[max(0, int(loud.float().argmax()) - before) :]


def fit_length(wave: Tensor, length: int) -> Tensor:
    """Bring a wave [T] to `length` samples: append zeros, or keep the beginning and fade it out."""
    if len(wave) <= length:
        return torch.nn.functional.pad(wave, (0, length - len(wave)))
    fade = torch.ones(length)
    tail = min(1024, length // 4)
    fade[-tail:] = torch.linspace(1, 0, tail)
    return wave[:length] * fade


def cut_rows(wave: Tensor, length: int, cut: str) -> list[Tensor]:
    """Cut a wave with a peak of PEAK into rows [length], without silent ones."""
    wave = trim(wave) / wave.abs().max() * PEAK
    if cut == "first":
        return [fit_length(wave, length)]
    rows = [torch.nn.functional.pad(part, (0, length - len(part))) for part in wave.split(length)]
    return [row for row in rows if float(row.abs().max()) > SILENT] or rows[:1]


def make_copies(
    wave: Tensor, rate: int, new_rate: int, length: int, data: SoundDataConfig, *, seed: Sequence[int]
) -> Tensor:
    """Make the rows of a sound and of its changed copies, float32 [copies * rows, length]."""
    rows = cut_rows(resample(wave, rate, new_rate), length, data.cut)
    for copy in range(1, data.copies):
        rng = np.random.default_rng([*seed, copy])
        semitones, gain, delay = rng.uniform(-1, 1), 10 ** (rng.uniform(-6, 0) / 20), rng.integers(0, new_rate // 100)
        faster = 100 * round(rate * 2 ** (semitones / 12) / 100)  # multiples of 100 Hz, which are quick to resample
        for row in cut_rows(resample(wave, faster, new_rate), length, data.cut):
            rows.append(torch.nn.functional.pad(row, (int(delay), 0))[:length] * gain)
    return torch.stack(rows)


def to_int16(waves: Tensor) -> np.ndarray:
    """Convert waves in [-1, 1] to int16."""
    return waves.mul(32767).round().clamp(-32768, 32767).to(torch.int16).numpy()


def decode(rows: np.ndarray | Tensor) -> Tensor:
    """Decode stored rows int16 [N, T] to float32 [N, 1, T] in [-1, 1), on their device."""
    return (to_tensor(rows).float() / 32768)[:, None]


# --- stores ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sound:
    """A recording of class number `label`. Recordings of one `group`, e.g. of one instrument, are in one split."""

    group: str
    label: int
    wave: Tensor
    rate: int


def make_rows(
    sounds: Iterable[Sound],
    data: SoundDataConfig,
    config: Any,
    *,
    about: About,
    classes: Sequence[str],
    one_in: int,
    keep_empty: bool = False,
) -> Rows:
    """Make the rows of sounds and of their copies. One group in `one_in` is for tests, by the sha256 of its name.

    One sound at a time is in memory. Classes without a sound are left out, unless `keep_empty`.

    Raises InvalidValueError for fewer than two rows.
    """
    rows: list[np.ndarray] = []
    labels: list[int] = []
    groups: list[str] = []
    for i, sound in enumerate(sounds):
        rows.append(to_int16(make_copies(sound.wave, sound.rate, config.rate, config.length, data, seed=(1, i))))
        labels.append(sound.label)
        groups.append(sound.group)
    counts = [len(copies) for copies in rows]
    if sum(counts) < 2:
        raise InvalidValueError(
            f"{about.name}: one row of {config.length / config.rate:.2g} s is not enough to train on and to test on"
        )
    if not keep_empty:
        used = sorted(set(labels))
        labels = [used.index(label) for label in labels]
        classes = [classes[label] for label in used] if len(used) > 1 else []
    owners = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
    fields = [("label", np.int16), ("sound", np.int32)] if classes else [("sound", np.int32)]
    table = np.empty(len(owners), dtype=fields)
    table["sound"] = owners
    if classes:
        table["label"] = np.array(labels, dtype=np.int16)[owners]
    assets = {LABELS: json.dumps(list(classes)) + "\n"}
    return Rows(about, np.concatenate(rows), split_groups(groups, owners, one_in), assets, table)


def split_groups(groups: Sequence[str], owners: np.ndarray, one_in: int) -> np.ndarray:
    """Compute the split uint8 [N]: one group in `one_in` is held out; of a single one, the last tenth of its rows."""
    if len(set(groups)) == 1:
        return (np.arange(len(owners)) >= len(owners) - max(1, len(owners) // 10)).astype(np.uint8)
    names = list(dict.fromkeys(groups))
    held = dict(zip(names, hash_split(names, one_in=one_in), strict=True))
    return np.array([held[group] for group in groups], dtype=np.uint8)[owners]


# --- drum-hits ---------------------------------------------------------------------------------------------------

NUM_INSTRUMENTS = 80  # of each class that are computed
# The recorded drums of each class, by their names. There are none of rims.
RECORDED = {
    "kick": ROLES["kick"],
    "snare": r"sn_\w+|drum_snare_\w+|elec_\w*snare",
    "clap": r"perc_snap2?",
    "tom": r"drum_tom_\w+|elec_fuzz_tom",
    "hat": r"hat_\w+|drum_cymbal_(closed|pedal)",
    "cymbal": ROLES["cymbal"],
    "cowbell": r"drum_cowbell",
}


class DrumHits:
    """Strokes of drums and cymbals, a second each: computed ones, and the recorded drums of Sonic Pi.

    All strokes of an instrument, from soft to hard, are in one split.
    """

    name = "drum-hits"
    version = str(drums.VERSION)
    license = "CC0-1.0"
    rate = 16000
    length = 16384
    defaults: ClassVar[dict[str, Any]] = {"copies": 4, "cut": "first"}

    @classmethod
    def open(cls, data: SoundDataConfig, config: Any, *, workers: int, progress: Progress | None, log: Log) -> Store:
        stamp = f"{config.rate}x{config.length}-{data.copies}-{data.cut}"
        place = cache_dir() / "data" / f"{cls.name}-v{cls.version}-{stamp}"
        if (place / "store.json").exists():
            return Store.open(place)
        about = About(name=cls.name, version=cls.version, license=cls.license)
        computed = len(drums.INSTRUMENTS) * NUM_INSTRUMENTS * len(drums.STRENGTHS)
        recorded = list(read_recorded_hits())
        hits = report_progress(itertools.chain(recorded, compute_hits()), computed + len(recorded), progress)
        source = make_rows(hits, data, config, about=about, classes=list(drums.INSTRUMENTS), one_in=5, keep_empty=True)
        return build_store(source, place)


def read_recorded_hits() -> Iterator[Sound]:
    """Read the recorded strokes. A hard and a soft one of a drum are of one group."""
    for label, kind in enumerate(drums.INSTRUMENTS):
        for name, wave in load_recordings(RECORDED.get(kind, ""), drums.RATE).items():
            instrument = re.sub(r"_(hard|soft)$", "", name)
            yield Sound(instrument, label, torch.from_numpy(wave), drums.RATE)


def compute_hits() -> Iterator[Sound]:
    """Compute the strokes of all instruments, a few of each."""
    for label, kind in enumerate(drums.INSTRUMENTS):
        for instrument in range(NUM_INSTRUMENTS):
            for strength in drums.STRENGTHS:
                wave = drums.strike(kind, instrument, strength)
                yield Sound(f"{kind} {instrument}", label, torch.from_numpy(wave), drums.RATE)


DATASETS: dict[str, type[DrumHits] | type[RenderedMusic]] = {
    source.name: source for source in (DrumHits, RenderedMusic)
}


# --- opening -----------------------------------------------------------------------------------------------------


def build_dataset(
    name: str,
    *,
    size: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Store:
    """Build a named data set with its own defaults; `size` is for other modalities. Raises as `open_store`."""
    source = DATASETS[name]
    data = SoundDataConfig(name=name, **source.defaults)
    return source.open(data, source, workers=workers, progress=progress, log=print)


def open_store(
    data: SoundDataConfig,
    config: Any,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    log: Log = print,
) -> Store:
    """Open the store that a recipe's `[data]` names: rows of `config.length` samples at `config.rate` Hz.

    Raises:
        NotFoundError: no data set of that name.
        InvalidFileError: no such file or folder, or no usable sound in it; the message says why for each file.
        MissingDependencyError: apt-get is needed and absent.
        WriteError: the store cannot be written, or apt-get fails.
    """
    if not data.name:
        path, about = find_own_files(data, SUFFIXES, progress=progress)
        return _open_folder(path, about, data, config, progress=progress, log=log)
    if data.name not in DATASETS:
        raise NotFoundError(
            f'no data set "{data.name}" of sounds; there are {", ".join(DATASETS)}.{suggest(data.name, DATASETS)}'
        )
    return DATASETS[data.name].open(data, config, workers=workers, progress=progress, log=log)


def _open_folder(
    path: Path, about: About, data: SoundDataConfig, config: Any, *, progress: Progress | None, log: Log
) -> Store:
    """Open the store of a sound file or folder. If all files are in subfolders, these are the classes."""
    if not path.exists():
        raise InvalidFileError(f"{path}: no such file or folder of sounds")
    files = list_files(path, SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InvalidFileError(
            f"{path}: no sound file ({', '.join(SUFFIXES)}) here nor in the folders below{describe_files(path)}"
        )
    facts = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    stamp = hashlib.sha256(repr((facts, data.copies, data.cut, config.rate, config.length)).encode()).hexdigest()[:16]
    place = cache_dir() / "data" / f"sounds-v{FOLDER_VERSION}-{stamp}"
    if (place / "store.json").exists():
        return Store.open(place)
    folders = [file.relative_to(path).parts[0] if len(file.relative_to(path).parts) > 1 else "" for file in files]
    classes = sorted(set(folders)) if "" not in folders and len(set(folders)) > 1 else []
    check_labels(classes, path)
    refused: list[str] = []

    def usable() -> Iterator[Sound]:
        for file, folder in zip(files, folders, strict=True):
            name = file.relative_to(path).as_posix() if file != path else file.name
            try:
                for wave, rate in itertools.islice(read_pieces(file), 1 if data.cut == "first" else None):
                    yield Sound(name, classes.index(folder) if classes else 0, wave, rate)
            except InvalidFileError as error:
                refused.append(str(error))

        if len(refused) == len(files):
            first = "; ".join(refused[:8])
            raise InvalidFileError(f"{path}: none of its {len(files)} sound files can be used: {first}")

    sounds = report_progress(usable(), len(files), progress)
    source = make_rows(sounds, data, config, about=about, classes=classes, one_in=10)
    for line in refused:
        log(f"left out: {line}")
    return build_store(source, place)


def report_progress(sounds: Iterable[Sound], total: int, progress: Progress | None) -> Iterator[Sound]:
    """Yield the sounds, and report the progress after each; a file may have more than one."""
    for i, sound in enumerate(sounds):
        yield sound
        if progress is not None:
            progress(min(i + 1, total), total)
