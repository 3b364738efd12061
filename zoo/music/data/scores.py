"""Notes to train on: Bach's chorales from the corpus of `music21`, or your own MIDI files.

A sample is a window of whole bars, uint8 [V, T, P]: the state of each pitch of each voice at each step. SILENT, STRUCK
and HELD are as in `zoo.music.data.midi`. BEYOND is a silent pitch that the voice has nowhere in the training split. So
a row alone is enough to know how far it may be transposed.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data import About, Store, build_store, cache_dir, hash_split
from zoo.data.own import check_folder, describe_files, find_own_files, list_files
from zoo.data.rows import to_tensor
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError, suggest
from zoo.io.atomic import replace_atomically
from zoo.music.data.midi import HELD, NUM_PITCHES, SILENT, STRUCK, add_note, read_grid
from zoo.music.data.midi import Mapping as TrackMapping
from zoo.noise import Noise
from zoo.recipe import DataConfig, within

__all__ = ["DATASETS", "ScoreConfig", "ScoreDataConfig", "build_dataset", "decode", "open_store"]

BEYOND = 3
FURTHEST = 6  # semitones up or down: enough to reach every key
MOST_TRACKS = 16  # of a file that becomes a lead sheet
MIDI_SUFFIXES = (".mid", ".midi")
FOLDER_VERSION = 2  # raised when files become other windows

Log = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The sizes of a score, and how it is written to a file."""

    tracks: int = field(default=5, metadata=within(1, 16))
    """Tracks, which are also called voices."""
    bars: int = field(default=4, metadata=within(1, 64))
    """Bars of a sample."""
    steps: int = field(default=48, metadata=within(4, 192))
    """Steps of a bar of 4/4."""
    pitches: int = field(default=84, metadata=within(12, NUM_PITCHES))
    """Pitches of a track, from `lowest` on."""
    lowest: int = field(default=24, metadata=within(0, NUM_PITCHES - 12))
    """The MIDI number of the lowest pitch; 60 is the middle C."""
    names: tuple[str, ...] = ()
    """Names of the tracks in saved files. In a MIDI file, a track called `drums` is drums."""
    programs: tuple[int, ...] = field(default=(), metadata=within(0, 127))
    """Instruments of the tracks, by General MIDI's numbers from 0."""
    bpm: float = field(default=90.0, metadata=within(10, 400))
    """Quarter notes per minute in saved files."""

    def __post_init__(self) -> None:
        if self.steps % 4:
            raise InvalidValueError(f"model.steps = {self.steps} should be a multiple of 4, a bar's beats")
        if self.lowest + self.pitches > NUM_PITCHES:
            highest = self.lowest + self.pitches - 1
            raise InvalidValueError(f"model.lowest + model.pitches: MIDI number {highest} is above {NUM_PITCHES - 1}")
        for key in ("names", "programs"):
            if (given := len(getattr(self, key))) not in (0, self.tracks):
                raise InvalidValueError(
                    f"model.{key}: {given} for {self.tracks} tracks; set as many, or none at all: model.{key}=[]"
                )


@dataclass(frozen=True, kw_only=True)
class ScoreDataConfig(DataConfig):
    """Scores to train on."""

    transpose: bool = True
    """Move each window by a random interval that keeps every voice in its range."""
    mapping: TrackMapping = "pitch"
    """How tracks of your own MIDI files become voices: `pitch`, from high to low, or `families`: drums, piano, guitar,
    bass and others."""

    @property
    def augments(self) -> bool:
        return self.transpose and not self.drums

    @property
    def drums(self) -> bool:
        """Whether the first track has drums. It cannot be transposed, since each pitch is another instrument."""
        return self.mapping == "families" and not self.name


@dataclass(frozen=True, kw_only=True)
class LeadSheetDataConfig(ScoreDataConfig):
    """Melodies with chords to train on, made from scores: the highest track, and the chord of each bar.

    `mapping` is that of the scores. Drums are left out.
    """

    @property
    def augments(self) -> bool:
        return self.transpose


class BachChorales:
    """Four-part pieces by Bach in 4/4, almost all of them chorales, in windows of four bars of sixteenths.

    They are from the corpus of the package `music21`: 326 pieces of 4,294 bars.
    """

    name = "bach-chorales"
    version = "1"
    license = "public domain (Bach); encodings as distributed with music21"
    tracks = 4
    steps = 16

    def pieces(self, progress: Progress | None = None) -> dict[str, np.ndarray]:
        """Read the grids uint8 [4, T, 128] by BWV number. They are parsed once, which takes a minute, and then cached.

        Raises MissingDependencyError, WriteError.
        """
        place = cache_dir() / "data" / f"{self.name}-v{self.version}-pieces.npz"
        if not place.exists():
            parsed = {name: as_line(grid) for name, grid in parse_chorales(progress).items()}
            with replace_atomically(place) as temporary:
                np.savez_compressed(temporary, **parsed)  # type: ignore[arg-type]
        with np.load(place, allow_pickle=False) as lines:
            return {name: as_grid(lines[name]) for name in lines.files}


DATASETS: dict[str, type[BachChorales]] = {BachChorales.name: BachChorales}


def parse_chorales(progress: Progress | None = None) -> dict[str, np.ndarray]:
    """Parse the pieces for four parts that are in 4/4 throughout, as grids of sixteenths by BWV number.

    Bars are counted from the first note, so an upbeat starts the first bar, as it starts most phrases. An incomplete
    last bar is left out. Raises MissingDependencyError.
    """
    try:
        from music21 import corpus, meter
    except ImportError:
        raise MissingDependencyError(
            "bach-chorales is read from the package 'music21': pip install 'gan-zoo[data]'"
        ) from None
    paths = sorted(path for path in corpus.getComposer("bach") if path.suffix == ".mxl")
    pieces: dict[str, np.ndarray] = {}
    for i, path in enumerate(paths):
        if progress is not None:
            progress(i, len(paths))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about gaps in the encodings
            score = corpus.parse(path)
        meters = {found.ratioString for found in score.recurse().getElementsByClass(meter.TimeSignature)}
        if len(score.parts) == BachChorales.tracks and meters == {"4/4"}:
            pieces[path.stem] = convert_piece(score)
    return pieces


def convert_piece(score: Any) -> np.ndarray:
    """Convert a parsed piece of monophonic parts to a grid [4, T, 128]."""
    end = max(float(part.highestTime) for part in score.parts)
    grid = np.zeros((len(score.parts), int(end // 4) * BachChorales.steps, NUM_PITCHES), dtype=np.uint8)
    for track, part in zip(grid, score.parts, strict=True):
        for note in part.flatten().notes:
            start, end = (round(4 * float(time)) for time in (note.offset, note.offset + note.duration.quarterLength))
            if start >= len(track) or note.duration.isGrace:
                continue
            track[start:] = SILENT  # a part sings one note at a time
            add_note(track, note.pitches[0].midi, start, end)
            if note.tie is not None and note.tie.type in ("stop", "continue"):
                track[start, note.pitches[0].midi] = HELD
    return grid


def as_line(grid: np.ndarray) -> np.ndarray:
    """Convert a monophonic grid [V, T, 128] to lines int16 [V, T]: pitch if struck, -pitch if held, 0 if silent."""
    pitches = grid.argmax(axis=2)
    states = grid.max(axis=2)
    return np.where(states == SILENT, 0, np.where((grid == STRUCK).any(axis=2), pitches, -pitches)).astype(np.int16)


def as_grid(lines: np.ndarray) -> np.ndarray:
    """Convert lines back to a grid; the inverse of `as_line`."""
    grid = np.zeros((*lines.shape, NUM_PITCHES), dtype=np.uint8)
    states = np.where(lines > 0, STRUCK, np.where(lines < 0, HELD, SILENT)).astype(np.uint8)
    np.put_along_axis(grid, np.abs(lines)[..., None], states[..., None], axis=2)
    return grid


CHORD_BASE = 48  # MIDI number of the lowest root in a track of chords
TRIADS = np.array([np.roll([1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], root) for root in range(12)]
                  + [np.roll([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], root) for root in range(12)])  # fmt: skip


def to_lead_sheet(grid: np.ndarray, steps: int) -> np.ndarray:
    """Convert a grid [V, T, 128] to a lead sheet [2, T, 128]: its highest voice, and the chord of each bar.

    The chord is a major or minor triad in close position from CHORD_BASE up. It is the one whose notes sound longest in
    the bar, minus half of the time of all other notes. A silent bar keeps the previous chord.
    """
    sounding = grid != SILENT
    means = [(voice * np.arange(NUM_PITCHES)).sum() / voice.sum() if voice.any() else -1 for voice in sounding]
    chords = np.zeros(grid.shape[1:], dtype=np.uint8)
    durations = np.pad(sounding.sum(axis=0), ((0, 0), (0, 4))).reshape(grid.shape[1], -1, 12).sum(axis=1)  # [T, 12]
    triad = 0
    for start in range(0, grid.shape[1], steps):
        in_bar = durations[start : start + steps].sum(axis=0)
        if in_bar.any():
            triad = int((in_bar @ (1.5 * TRIADS.T - 0.5)).argmax())
        root, third = triad % 12, 4 - triad // 12
        for interval in (0, third, 7):
            add_note(chords, CHORD_BASE + root + interval, start, start + steps)
    return np.stack([grid[int(np.argmax(means))], chords])


LONGEST_NAME = 64
WINDOW = np.dtype([("piece", f"U{LONGEST_NAME}"), ("bar", np.uint16)])


def shorten_name(name: str) -> str:
    """Return the name of a piece as stores keep it. A long one is its end, after a digest that makes it unique."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{digest}-{name[-(LONGEST_NAME - len(digest) - 1) :]}"


@dataclass
class Windows:
    """The source of a store of scores: all windows of `config.bars` bars of the pieces' grids, one bar apart."""

    name: str
    license: str
    pieces: Mapping[str, np.ndarray]  # [V, T, P] each, in the pitches of the model
    config: ScoreConfig
    version: str = "1"
    anywhere: tuple[int, ...] = ()  # tracks that any transposition suits
    dtype: np.dtype = field(default=np.dtype(np.uint8), init=False)
    attributes: np.dtype = field(default=WINDOW, init=False)
    assets: Mapping[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        names = list(self.pieces)
        in_test = dict(zip(names, hash_split(names), strict=True))
        length = self.config.bars * self.config.steps
        self._windows = [
            (name, bar)
            for name, grid in self.pieces.items()
            for bar in range((grid.shape[1] - length) // self.config.steps + 1)
            if grid[:, bar * self.config.steps :][:, :length].any()
        ]
        self._test = np.array([in_test[name] for name, _ in self._windows], dtype=np.uint8)
        reached = [grid.any(axis=1) for name, grid in self.pieces.items() if not in_test[name]]
        self._beyond = ~_fill_between(np.any(reached, axis=0))
        self._beyond[list(self.anywhere)] = False

    @property
    def count(self) -> int:
        return len(self._windows)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.config.tracks, self.config.bars * self.config.steps, self.config.pitches)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        chosen = [self._windows[i] for i in indices]
        steps, length = self.config.steps, self.shape[1]
        rows = np.stack([self.pieces[name][:, bar * steps : bar * steps + length] for name, bar in chosen])
        beyond = np.broadcast_to(self._beyond[None, :, None], rows.shape)
        windows = np.array([(shorten_name(name), bar) for name, bar in chosen], dtype=WINDOW)
        return np.where((rows == SILENT) & beyond, BEYOND, rows).astype(np.uint8), windows

    def split(self) -> np.ndarray:
        return self._test


def _fill_between(reached: np.ndarray) -> np.ndarray:
    """Fill in pitches bool [V, P] from the lowest to the highest; all of a voice that has none."""
    up = np.maximum.accumulate(reached, axis=1)
    down = np.maximum.accumulate(reached[:, ::-1], axis=1)[:, ::-1]
    return (up & down) | ~reached.any(axis=1, keepdims=True)


def read_ranges(rows: np.ndarray) -> np.ndarray:
    """Read the pitches bool [V, P] that each voice has in the training split from rows [N, V, T, P] of the store."""
    return (np.asarray(rows) != BEYOND).all(axis=(0, 2))


def decode(rows: np.ndarray | Tensor) -> Tensor:
    """Decode stored windows [N, V, T, P] to rolls float32 [N, V + 1, T, P] of -1 and 1, on their device.

    A roll is 1 where its voice sounds; the last roll is 1 where any voice has an onset.
    """
    rows = to_tensor(rows)
    starts = (rows == STRUCK).any(dim=1, keepdim=True)
    return torch.cat([_find_sounding(rows), starts], dim=1).float().mul_(2).sub_(1)


def augment(rows: Tensor, noise: Noise) -> Tensor:
    """Transpose each window by up to FURTHEST semitones, as far as all its voices stay in their ranges."""
    return transpose(rows, noise.uniform(len(rows)))


def mark_onsets(sounding: Tensor) -> Tensor:
    """Mark where a pitch starts to sound [..., T, P], in 0 and 1. Before the first step all is silent."""
    return sounding - sounding * torch.nn.functional.pad(sounding[..., :-1, :], (0, 0, 1, 0))


_LEVELS = 2**24  # of a uniform float32 number; whole numbers of them make the same intervals on every device


def transpose(rows: Tensor, shares: Tensor) -> Tensor:
    """Transpose windows [N, V, T, P] within the ranges of all voices; `shares` [N] in [0, 1) choose the intervals."""
    down, up = measure_room(rows)
    parts = (shares * _LEVELS).long().to(rows.device, non_blocking=rows.is_cuda)
    shifts = parts * (down + up + 1) // _LEVELS - down
    notes = torch.where(rows == BEYOND, SILENT, rows)
    # Nothing wraps around: only silence moves over an end.
    origins = (torch.arange(rows.shape[-1], device=rows.device) - shifts[:, None]) % rows.shape[-1]
    return notes.gather(-1, origins[:, None, None].expand_as(notes))


def measure_room(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Compute by how many semitones windows [N, V, T, P] may move down and up, int64 [N] each, at most FURTHEST."""
    sounding, reach = _find_sounding(rows).any(dim=2), (rows != BEYOND).all(dim=2)
    (lowest, highest), (bottom, top) = _find_ends(sounding), _find_ends(reach)
    is_silent = ~sounding.any(dim=-1)
    down, up = ((room.masked_fill(is_silent, FURTHEST)).amin(1) for room in (lowest - bottom, top - highest))
    return down.clamp_max(FURTHEST), up.clamp_max(FURTHEST)


def _find_sounding(rows: Tensor) -> Tensor:
    return (rows == STRUCK) | (rows == HELD)


def _find_ends(marked: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first and the last place that is marked in bool [..., P], int64 [...] each."""
    places = torch.arange(marked.shape[-1], device=marked.device)
    return torch.where(marked, places, marked.shape[-1]).amin(-1), torch.where(marked, places, -1).amax(-1)


def build_dataset(name: str, *, size: int | None = None, workers: int = 1, progress: Progress | None = None) -> Store:
    """Build a named data set in its own sizes; `size` is for other modalities. Raises as `open_store`."""
    config = ScoreConfig(tracks=4, bars=4, steps=16, pitches=48, lowest=36)
    return open_store(ScoreDataConfig(name=name), config, progress=progress)


def open_store(
    data: ScoreDataConfig,
    config: ScoreConfig,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    log: Log = print,
) -> Store:
    """Open the store that a recipe's `[data]` names, in the sizes of its `[model]`, built at first use.

    One process builds it, whatever `workers` says.

    Raises:
        NotFoundError: no data set of that name.
        InvalidFileError: no such folder, or none of its files can be used; the message says why for each.
        InvalidValueError: sizes that the data does not have.
        MissingDependencyError: the extra `data` is needed.
    """
    if not data.name:
        folder, about = find_own_files(data, MIDI_SUFFIXES, progress=progress)
        return _open_folder(folder, about, data, config, progress=progress, log=log)
    if data.name not in DATASETS:
        raise NotFoundError(
            f'no data set "{data.name}" of scores; there are {", ".join(DATASETS)}.{suggest(data.name, DATASETS)}'
        )
    corpus = DATASETS[data.name]()
    sheets = isinstance(data, LeadSheetDataConfig)
    if (config.tracks != corpus.tracks and not sheets) or config.steps % corpus.steps:
        raise InvalidValueError(
            f"{corpus.name} has {corpus.tracks} voices and {corpus.steps} steps a bar: set model.tracks = "
            f"{corpus.tracks} and model.steps to a multiple of {corpus.steps}"
        )
    sizes = f"{'sheets' if sheets else ''}{config.bars}x{config.steps}x{config.pitches}from{config.lowest}"
    place = cache_dir() / "data" / f"{corpus.name}-v{corpus.version}-{sizes}"
    if (place / "store.json").exists():
        return Store.open(place)
    pieces = {
        name: _prepare(stretch(grid, config.steps // corpus.steps), data, config)
        for name, grid in corpus.pieces(progress).items()
    }
    source = Windows(corpus.name, corpus.license, pieces, config, corpus.version, anywhere=(1,) if sheets else ())
    return build_store(source, place, progress=progress)


def _prepare(grid: np.ndarray, data: ScoreDataConfig, config: ScoreConfig) -> np.ndarray:
    """Convert a grid [V, T, 128] to the pitches of the config, and to a lead sheet if the data has these."""
    if isinstance(data, LeadSheetDataConfig):
        return fit_pitches(to_lead_sheet(grid[int(data.drums) :], config.steps), config)
    return fit_pitches(grid, config, drums=data.drums)


def stretch(grid: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each step of a grid [V, T, P] `factor` times; notes start only at the first."""
    grid = grid.repeat(factor, axis=1)
    later = np.arange(grid.shape[1]) % factor > 0
    grid[:, later] = np.where(grid[:, later] == STRUCK, HELD, grid[:, later])
    return grid


def fit_pitches(grid: np.ndarray, config: ScoreConfig, *, drums: bool = False) -> np.ndarray:
    """Select the config's pitches of a grid [V, T, 128]; notes outside of them are moved inside by octaves.

    Notes of a first voice with `drums` are left out instead: an octave away is another instrument.
    """
    low, high = config.lowest, config.lowest + config.pitches
    inside = grid[:, :, low:high].copy()
    tuned, moved = grid[int(drums) :], inside[int(drums) :]
    for pitch in [*range(low), *range(high, NUM_PITCHES)]:
        octaves = -(-(low - pitch) // 12) if pitch < low else -(-(pitch - high + 1) // 12) * -1
        place = pitch + 12 * octaves - low
        outside = tuned[:, :, pitch]
        moved[:, :, place] = np.where(moved[:, :, place] == SILENT, outside, moved[:, :, place])
    return inside


def _open_folder(
    folder: Path, about: About, data: ScoreDataConfig, config: ScoreConfig, *, progress: Progress | None, log: Log
) -> Store:
    """Open the store of the MIDI files in a folder and below."""
    check_folder(folder, "MIDI files")
    files = list_files(folder, MIDI_SUFFIXES)
    if not files:
        raise InvalidFileError(
            f"{folder}: no MIDI file ({', '.join(MIDI_SUFFIXES)}) here nor in the folders below{describe_files(folder)}"
        )
    digests = [_digest(path) for path in files]
    sizes = (config.tracks, config.bars, config.steps, config.pitches, config.lowest, data.mapping, type(data).__name__)
    names = [str(path.relative_to(folder)) for path in files]
    stamp = hashlib.sha256(repr((sizes, names, digests)).encode()).hexdigest()[:16]
    place = cache_dir() / "data" / f"midi-v{FOLDER_VERSION}-{stamp}"
    if (place / "store.json").exists():
        return Store.open(place)
    pieces = _read_pieces(dict(zip(names, files, strict=True)), data, config, folder, log)
    anywhere = (1,) if isinstance(data, LeadSheetDataConfig) else ()
    source = Windows(about.name, about.license, pieces, config, anywhere=anywhere)
    return build_store(source, place, progress=progress)


def _digest(path: Path) -> str:
    """Compute the sha256 of a file; none of a file that cannot be read, which is left out later."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read_pieces(
    files: Mapping[str, Path], data: ScoreDataConfig, config: ScoreConfig, folder: Path, log: Log
) -> dict[str, np.ndarray]:
    """Read the grids of the usable files, and log why others are left out. Raises InvalidFileError without any."""
    pieces: dict[str, np.ndarray] = {}
    reasons: list[str] = []
    for name, path in files.items():
        try:
            tracks = MOST_TRACKS if isinstance(data, LeadSheetDataConfig) else config.tracks
            grid = read_grid(path, tracks=tracks, steps=config.steps, mapping=data.mapping)
            if grid.shape[1] < config.bars * config.steps:
                bars = grid.shape[1] // config.steps
                raise InvalidFileError(f"{path}: {bars} bars, and the model's scores have {config.bars}")
        except InvalidFileError as error:
            reasons.append(str(error))
        else:
            pieces[name] = _prepare(grid, data, config)
    if not pieces:
        listed = "\n  ".join(reasons)
        raise InvalidFileError(f"{folder}: none of {len(files)} MIDI files can be used:\n  {listed}")
    if len(pieces) < 2:
        raise InvalidFileError(
            f"{folder}: two usable MIDI files are needed at least, one to train on and one to test on"
        )
    if reasons:
        verb = "is" if len(reasons) == 1 else "are"
        log(f"{len(reasons)} of {len(files)} MIDI files {verb} left out:\n  " + "\n  ".join(reasons))
    return pieces
