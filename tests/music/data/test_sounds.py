"""Sounds as data: files of any rate and length, what is refused and why, drum kits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from zoo.data.labels import read_labels
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.music.data import drums
from zoo.music.data import sounds as module
from zoo.music.data.sounds import (
    SoundDataConfig,
    count_clipped,
    cut_rows,
    decode,
    fit_length,
    make_copies,
    open_store,
    read_pieces,
    read_sound,
    trim,
)
from zoo.music.sound_gan import SoundConfig

CONFIG = SoundConfig(length=16384, rate=16000)


def tone(rate: int, seconds: float, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder of sounds of many rates, and four files that hold none."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i, rate in enumerate((8000, 16000, 22050, 44100, 48000)):
        for j in range(3):
            soundfile.write(folder / f"{i}{j}.{('wav', 'flac')[j % 2]}", tone(rate, 0.3 + j), rate)
    soundfile.write(folder / "stereo.wav", np.stack([tone(16000, 1.0), 0 * tone(16000, 1.0)], axis=1), 16000)
    soundfile.write(folder / "silent.wav", np.zeros(5000, dtype=np.float32), 16000)
    soundfile.write(folder / "empty.wav", np.zeros(0, dtype=np.float32), 16000)
    (folder / "broken.wav").write_bytes(b"RIFF not really")
    (folder / "notes.txt").write_text("no sound")
    return folder


def test_a_folder_of_any_rate_and_length_becomes_rows(sounds: Path):
    """Each sound is resampled, normalized and cut into rows; what cannot be used is named with the reason."""
    said: list[str] = []
    store = open_store(SoundDataConfig(folder=str(sounds)), CONFIG, log=said.append)

    waves = decode(store.samples)
    assert waves.shape[1:] == (1, 16384)
    assert waves.dtype == torch.float32
    whole = [int(np.ceil((0.3 + j) * 16000 / 16384)) for j in range(3)]
    assert len(waves) == 5 * sum(whole) + 1
    assert float(waves.abs().max()) == pytest.approx(0.95, abs=0.02)
    assert read_labels(store.folder) == ()
    assert store.labels is None
    assert {Path(line.split(": ")[1]).name: line for line in said}.keys() == {"silent.wav", "empty.wav", "broken.wav"}
    reasons = " ".join(said)
    assert "silent" in reasons
    assert "zero length" in reasons
    assert "broken.wav: cannot be read" in reasons


def test_resampling_keeps_the_pitch(sounds: Path):
    """A tone of 440 Hz is one at every rate it was recorded at."""
    store = open_store(SoundDataConfig(folder=str(sounds)), CONFIG, log=lambda line: None)

    full = [wave for wave in decode(store.samples)[:, 0] if float(wave[-100:].abs().max()) > 0.5]
    peaks = {round(int(torch.fft.rfft(wave).abs().argmax()) * 16000 / 16384) for wave in full}
    assert peaks <= {439, 440, 441}


def test_folders_in_the_folder_are_classes(tmp_path: Path):
    """Where every file lies in a folder of its own kind, those are the classes; one file outside and there are none."""
    for kind, pitch in (("high", 880), ("low", 110)):
        (tmp_path / kind).mkdir()
        for i in range(4):
            soundfile.write(tmp_path / kind / f"{i}.wav", tone(16000, 0.5, pitch + i), 16000)
    store = open_store(SoundDataConfig(folder=str(tmp_path)), CONFIG, log=print)
    assert read_labels(store.folder) == ("high", "low")
    assert sorted(store.labels) == [0] * 4 + [1] * 4

    soundfile.write(tmp_path / "outside.wav", tone(16000, 0.5), 16000)
    assert read_labels(open_store(SoundDataConfig(folder=str(tmp_path)), CONFIG, log=print).folder) == ()


def test_all_rows_of_a_sound_are_in_one_split(sounds: Path):
    """Neither copies nor pieces of a held-out file are trained on, and both splits hold something."""
    store = open_store(SoundDataConfig(folder=str(sounds), copies=3), CONFIG, log=lambda line: None)

    owners = store.attributes["sound"]
    train, test = (set(owners[store.indices(split)].tolist()) for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


def test_a_changed_folder_is_read_anew(sounds: Path):
    """The store is kept, until a file changes or other rows are asked for."""
    data = SoundDataConfig(folder=str(sounds))
    first = open_store(data, CONFIG, log=lambda line: None)
    assert open_store(data, CONFIG, log=lambda line: None).folder == first.folder

    soundfile.write(sounds / "new.wav", tone(16000, 0.5), 16000)
    assert open_store(data, CONFIG, log=lambda line: None).folder != first.folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such file or folder"),
        (lambda folder: folder.mkdir(), r"no sound file \(\.wav, .*\) here"),
        (lambda folder: (folder.mkdir(), soundfile.write(folder / "a.wav", np.zeros(99), 16000)), "silent"),
        (lambda folder: (folder.mkdir(), soundfile.write(folder / "a.wav", np.ones(9) / 2, 50)), "50 samples a second"),
        (
            lambda folder: [
                (where.mkdir(parents=True), soundfile.write(where / "a.wav", np.ones(99) / 2, 16000))
                for where in (folder / "a\nb", folder / "c")
            ],
            r"none: the name of a class cannot be 'a\\nb'",
        ),
    ],
)
def test_folders_without_sounds_say_why(tmp_path: Path, make, message: str):
    """One line that names the folder, and the files with their reasons."""
    make(tmp_path / "none")
    with pytest.raises(InvalidFileError, match=message):
        open_store(SoundDataConfig(folder=str(tmp_path / "none")), CONFIG, log=lambda line: None)


def test_one_row_is_not_enough(tmp_path: Path):
    """Something has to be held out."""
    soundfile.write(tmp_path / "a.wav", tone(16000, 0.5), 16000)
    with pytest.raises(InvalidValueError, match="not enough"):
        open_store(SoundDataConfig(folder=str(tmp_path / "a.wav")), CONFIG, log=print)


def test_unknown_data_sets_suggest():
    """A misspelt name meets the nearest."""
    with pytest.raises(NotFoundError, match='Did you mean "drum-hits"'):
        open_store(SoundDataConfig(name="drumhits"), CONFIG)


def test_clipped_input_warns(tmp_path: Path):
    """Samples in a row at full scale are a recording too loud; a single peak is not."""
    soundfile.write(tmp_path / "loud.wav", np.clip(4 * tone(16000, 0.5), -1, 1), 16000, subtype="FLOAT")
    with pytest.warns(UserWarning, match="clipped"):
        read_sound(tmp_path / "loud.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        soundfile.write(tmp_path / "fine.wav", tone(16000, 0.5), 16000)
        read_sound(tmp_path / "fine.wav")
    assert count_clipped(np.array([True, False, True, True, True, False])) == 3
    assert count_clipped(np.zeros(3, dtype=bool)) == 0


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path):
    """A float file may hold anything."""
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan, 0.2]), 16000, subtype="FLOAT")
    with pytest.raises(InvalidFileError, match="finite"):
        read_sound(tmp_path / "nan.wav")


def test_rows_begin_with_the_sound_and_fade_where_it_is_cut():
    """Silence before the stroke goes, a long sound's beginning fades out, a short one is followed by zeros."""
    wave = torch.cat([torch.zeros(500), torch.ones(3000)])
    assert len(trim(wave)) == 3016
    cut = fit_length(torch.ones(3000), 2000)
    assert cut[0] == 1
    assert cut[-1] == 0
    assert torch.equal(fit_length(torch.ones(3), 5), torch.tensor([1.0, 1, 1, 0, 0]))
    assert len(cut_rows(wave, 1000, "first")) == 1
    assert len(cut_rows(wave, 1000, "all")) == 4


def test_copies_are_changed_a_little_and_the_same_each_time():
    """The first row is the sound itself; the others differ from it, from one another, and not from run to run."""
    data, wave = SoundDataConfig(name="drum-hits", copies=4, cut="first"), torch.from_numpy(tone(16000, 0.5))
    rows, again = (make_copies(wave, 16000, 16000, 16384, data, seed=(1, 2)) for _ in range(2))

    assert torch.equal(rows, again)
    assert torch.equal(rows[0], cut_rows(wave, 16384, "first")[0])
    peaks = [int(torch.fft.rfft(row).abs().argmax()) * 16000 / 16384 for row in rows]
    assert all(440 / 1.07 < peak < 440 * 1.07 for peak in peaks)
    assert len(set(peaks)) > 1
    assert all(0.45 < float(row.abs().max()) <= 0.96 for row in rows)


def test_the_strokes_of_an_instrument_are_in_one_split(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Each class has computed instruments of three strengths, and recordings where there are some."""
    recorded = {"bd_a": tone(drums.RATE, 0.2, 60), "bd_b_hard": tone(drums.RATE, 0.2, 70)}
    monkeypatch.setattr(module, "load_recordings", lambda pattern, rate: recorded if "bd_" in pattern else {})
    monkeypatch.setattr(module, "NUM_INSTRUMENTS", 4)

    seen: list[tuple[int, int]] = []
    data = SoundDataConfig(name="drum-hits", copies=2, cut="first")
    store = open_store(data, CONFIG, progress=lambda done, total: seen.append((done, total)))

    num_sounds = 2 + 8 * 4 * 3
    assert store.samples.shape == (2 * num_sounds, 16384)
    assert store.samples.dtype == np.int16
    assert seen[-1] == (num_sounds, num_sounds)
    assert read_labels(store.folder) == tuple(drums.INSTRUMENTS)
    assert np.bincount(store.labels).tolist() == [28, *[24] * 7]
    computed = store.split[4:].reshape(8 * 4, 6)
    assert (computed == computed[:, :1]).all()
    assert {group.group for group in module.read_recorded_hits()} == {"bd_a", "bd_b"}


def write_sound(path: Path, wave: np.ndarray, rate: int = 16000) -> Path:
    soundfile.write(path, wave, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


@pytest.mark.parametrize("hiss", [0, 0.002])
def test_channels_that_cancel_one_another_do_not_vanish(tmp_path: Path, hiss: float):
    """Stereo with a swapped wire is the tone of its stronger channel, and not the hiss that remains of its mean."""
    left = tone(16000, 1.0)
    right = -0.98 * left + hiss * np.random.default_rng(0).normal(size=len(left))
    wave, _ = read_sound(write_sound(tmp_path / "a.wav", np.stack([left, right], axis=1)))

    assert float(np.corrcoef(wave.numpy(), left)[0, 1] ** 2) > 0.99
    assert float(wave.abs().max()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("channels", [2, 6])
def test_a_single_channel_of_many_is_averaged(tmp_path: Path, channels: int):
    """Silent channels do not cancel anything: the mean is taken, as always."""
    whole = np.zeros((16000, channels), dtype=np.float32)
    whole[:, 1] = tone(16000, 1.0)
    wave, _ = read_sound(write_sound(tmp_path / "a.wav", whole))

    np.testing.assert_allclose(wave.numpy(), whole.mean(axis=1), atol=1e-3)


def test_an_offset_is_neither_sound_nor_silence(tmp_path: Path):
    """Silence before a stroke goes although it lies beside zero, and the peak is measured from there."""
    time = np.arange(4000) / 16000
    hit = np.concatenate([np.zeros(8000), 0.8 * np.exp(-30 * time) * np.sin(2 * np.pi * 80 * time)])
    for offset in (0.0, 0.02, -0.1):
        wave, _ = read_sound(write_sound(tmp_path / "a.wav", hit + offset))
        (row,) = cut_rows(wave, 16384, "first")

        assert int(row.abs().argmax()) < 200
        assert float(row.max()) == pytest.approx(0.95)
        np.testing.assert_allclose(wave.numpy(), hit, atol=0.003)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stroke_without_an_offset_keeps_its_level(tmp_path: Path, sign: int):
    """A short stroke and a row of narrow peaks are not around zero, and are left as they are."""
    time = np.arange(400) / 16000
    stroke = sign * np.exp(-60 * time) * np.sin(2 * np.pi * 60 * time)
    peaks = sign * np.where(np.arange(16000) % 100 < 5, 0.8, 0.0)
    for wave in (stroke, peaks):
        read, _ = read_sound(write_sound(tmp_path / "a.wav", wave))

        assert abs(np.median(read) - np.median(wave)) < 0.01


def test_a_constant_is_silent(tmp_path: Path):
    """Nobody hears it."""
    with pytest.raises(InvalidFileError, match="silent"):
        read_sound(write_sound(tmp_path / "a.wav", np.full(16000, 0.5)))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int):
    """The blocks together are the whole, clipped samples across their borders included."""
    wave = np.stack([tone(16000, 1.0), -tone(16000, 1.0)], axis=1)[:, :channels] * 0.9
    wave[997:1007] = 1.0
    path = write_sound(tmp_path / "a.wav", wave)
    with pytest.warns(UserWarning, match="clipped: 10 samples"):
        whole, _ = read_sound(path)
    monkeypatch.setattr(module, "_BLOCK", 1000)
    with pytest.warns(UserWarning, match="clipped: 10 samples"):
        pieces, _ = read_sound(path)

    assert pieces.equal(whole)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_long_file_is_cut_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int):
    """One file does not fill the memory: its beginning is read, and a warning says so."""
    monkeypatch.setattr(module, "MOST_SAMPLES", 2500)
    monkeypatch.setattr(module, "_BLOCK", 1000)
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def count(self, frames: int, **options: object) -> np.ndarray:
        asked.append(frames * self.channels)
        return read(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", count)
    long = np.stack([tone(16000, 1.0)] * channels, axis=1)
    with pytest.warns(UserWarning, match=r"a\.wav: only its first .* minutes are read"):
        wave, _ = read_sound(write_sound(tmp_path / "a.wav", long))

    assert len(wave) == 2500
    np.testing.assert_allclose(wave.numpy(), long[:2500, 0], atol=5e-3)
    assert max(asked) <= 1000


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_of_hours_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    """The pieces are the whole file, without those that are silent; each is a sound of the store."""
    monkeypatch.setattr(module, "_BLOCK", 1000)
    wave = tone(16000, 1.0) * 0.9
    wave[5000:7500] = 0
    path = write_sound(tmp_path / f"a.{suffix}", wave)
    monkeypatch.setattr(module, "MOST_SAMPLES", 2500)

    pieces = [piece.numpy() for piece, _ in read_pieces(path)]

    assert [len(piece) for piece in pieces] == [2500] * 5 + [1000]
    np.testing.assert_allclose(np.concatenate(pieces), np.delete(wave, range(5000, 7500)), atol=5e-3)
    store = open_store(SoundDataConfig(folder=str(path)), CONFIG, log=print)
    assert sorted(set(store.attributes["sound"])) == list(range(6))


def test_one_sound_at_a_time_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of many hours is not read whole before its first row is made."""
    for i in range(5):
        write_sound(tmp_path / f"{i}.wav", tone(16000, 0.5 + i / 10, 300 + i))
    order: list[str] = []
    made = module.make_copies

    def note_read(path: Path) -> Iterator[tuple[torch.Tensor, int]]:
        order.append("read")
        yield from read_pieces(path)

    def note_made(*args: object, **options: object) -> torch.Tensor:
        order.append("made")
        return made(*args, **options)

    monkeypatch.setattr(module, "read_pieces", note_read)
    monkeypatch.setattr(module, "make_copies", note_made)
    open_store(SoundDataConfig(folder=str(tmp_path), cut="first"), CONFIG, log=print)

    assert order == ["read", "made"] * 5


@pytest.mark.parametrize("rate", [999, 1_000_001])
def test_absurd_rates_are_refused(tmp_path: Path, rate: int):
    with pytest.raises(InvalidFileError, match=rf"a\.wav: has {rate} samples a second; 1,000 to 1,000,000 are read"):
        read_sound(write_sound(tmp_path / "a.wav", tone(16000, 0.1), rate))


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), SystemError("damaged")])
def test_whatever_a_decoder_raises_leaves_the_sound_out(sounds: Path, monkeypatch, error: Exception):
    """Whichever exception it is: the file is named, and the others are used."""
    read = soundfile.SoundFile.read

    def fail(self, *args: object, **options: object) -> np.ndarray:
        if "stereo" in str(self.name):
            raise error
        return read(self, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    lines: list[str] = []
    store = open_store(SoundDataConfig(folder=str(sounds), cut="first"), CONFIG, log=lines.append)

    assert len(store.samples) == 15
    assert any(f"left out: {sounds / 'stereo.wav'}: cannot be read: " in line for line in lines)


def test_sounds_that_are_all_alike_are_refused(tmp_path: Path):
    """A folder of copies of one sound is named before it is trained on."""
    for i in range(12):
        write_sound(tmp_path / f"{i}.wav", tone(16000, 0.5))
    with pytest.raises(InvalidFileError, match=rf"^{tmp_path.name}: all \d+ samples to train on are the same"):
        open_store(SoundDataConfig(folder=str(tmp_path), cut="first"), CONFIG, log=print)
