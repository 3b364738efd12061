from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
import torch
from helpers.chorales import chorale_store, progression

from zoo.data import cache_dir
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.modality import build_dataset, kind_of, list_datasets
from zoo.music.data.midi import FAMILIES, HELD, NUM_PITCHES, SILENT, STRUCK, add_note, list_notes, read_grid, write_midi
from zoo.music.data.scores import (
    BEYOND,
    FURTHEST,
    LeadSheetDataConfig,
    ScoreConfig,
    ScoreDataConfig,
    Windows,
    as_grid,
    as_line,
    augment,
    convert_piece,
    decode,
    fit_pitches,
    hash_split,
    measure_room,
    open_store,
    read_ranges,
    stretch,
    transpose,
)
from zoo.noise import Noise
from zoo.recipe import load_recipe

CONFIG = ScoreConfig(tracks=2, bars=2, steps=16, pitches=36, lowest=48)


def tell_nobody(line: str) -> None:
    pass


def write(
    path: Path,
    tracks: list[list[tuple[int, int, int]]],
    *,
    programs: tuple[int, ...] = (),
    drums: tuple[int, ...] = (),
    meter: tuple[int, int] = (4, 4),
) -> Path:
    """A MIDI file of tracks of notes (start, length, pitch) in sixteenths."""
    score = symusic.Score(480)
    score.time_signatures.append(symusic.TimeSignature(0, *meter))
    for i, notes in enumerate(tracks):
        track = symusic.Track(program=programs[i] if programs else 0, is_drum=i in drums, name=str(i))
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(start * 120, length * 120, pitch, 80))
        score.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(str(path))
    return path


def tune(start: int = 60, *, bars: int = 3) -> list[tuple[int, int, int]]:
    return [(4 * i, 4, start + i % 5) for i in range(4 * bars)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six MIDI files of two tracks and three bars, the lower track first."""
    for i in range(6):
        write(tmp_path / "midi" / f"{i}.mid", [tune(50 + i), tune(65 + i)])
    return tmp_path / "midi"


def test_a_midi_file_becomes_a_grid_and_comes_back(tmp_path: Path):
    """Notes keep their voice, step, length and pitch; a repeated pitch is struck twice."""
    grid = progression(0, tracks=3, bars=2, steps=16)
    add_note(grid[0], 90, 4, 8)
    add_note(grid[0], 90, 8, 10)
    write_midi(grid, tmp_path / "a.mid", steps=16, lowest=0, names=["a", "b", "c"], programs=[0, 40, 52], bpm=90)
    found = read_grid(tmp_path / "a.mid", tracks=3, steps=16)

    assert (found == grid).all()
    assert (4, 4, 90) in list_notes(found[0])
    assert (8, 2, 90) in list_notes(found[0])


def test_tracks_go_from_high_to_low_without_drums(tmp_path: Path):
    """Missing tracks are silent."""
    path = write(tmp_path / "a.mid", [tune(40), tune(36), tune(70)], drums=(1,))
    grid = read_grid(path, tracks=3, steps=16)

    assert [list_notes(track)[0][2] if track.any() else None for track in grid] == [70, 40, None]


def test_families_gather_programs(tmp_path: Path):
    """Piano, guitar, bass, drums, and others: as in the data of MuseGAN."""
    path = write(tmp_path / "a.mid", [tune(40), tune(36), tune(70), tune(80)], programs=(33, 0, 73, 25), drums=(1,))
    grid = read_grid(path, tracks=5, steps=16, mapping="families")

    firsts = dict(zip(FAMILIES, (list_notes(track)[0][2] if track.any() else None for track in grid), strict=True))
    assert firsts == {"drums": 36, "piano": None, "guitar": 80, "bass": 40, "others": 70}


def test_the_options_in_a_message_about_families_make_a_model_of_them(tmp_path: Path):
    """As words of a command line; names and programs of another number of tracks are refused with what would work."""
    path = write(tmp_path / "a.mid", [tune(40 + i) for i in range(6)])
    with pytest.raises(InvalidFileError, match="gather them by") as refusal:
        read_grid(path, tracks=4, steps=16)
    words = shlex.split(str(refusal.value).partition("gather them by ")[2])
    recipe = load_recipe("music-musegan", words, data=str(tmp_path))

    assert recipe.data.mapping == "families"
    assert recipe.model.names == FAMILIES
    with pytest.raises(
        InvalidValueError, match=r"model\.names: 4 for 5 tracks; set as many, or none at all: model\.names=\[\]"
    ):
        load_recipe("music-musegan", ["model.tracks=5"])


def test_steps_that_divide_no_quarter_note_into_ticks_do_not_drift(tmp_path: Path):
    """Notes of 44 steps a bar begin and end at the nearest tick, after many bars as well."""
    grid = np.zeros((1, 44 * 40, NUM_PITCHES), dtype=np.uint8)
    add_note(grid[0], 60, 44 * 39, 44 * 40)
    write_midi(grid, tmp_path / "a.mid", steps=44, lowest=0, names=["a"], programs=[0], bpm=90)

    (note,) = symusic.Score.from_midi((tmp_path / "a.mid").read_bytes()).tracks[0].notes
    assert (note.time, note.duration) == (39 * 1920, 1920)
    assert (read_grid(tmp_path / "a.mid", tracks=1, steps=44) == grid).all()


def test_notes_are_moved_to_the_nearest_step(tmp_path: Path):
    """And last one step at least."""
    score = symusic.Score(480)
    track = symusic.Track(name="a")
    track.notes.append(symusic.Note(130, 10, 60, 80))
    score.tracks.append(track)
    score.dump_midi(str(tmp_path / "a.mid"))

    assert list_notes(read_grid(tmp_path / "a.mid", tracks=1, steps=16)[0]) == [(1, 1, 60)]


def test_a_folder_of_midi_files_becomes_a_store(folder: Path):
    """Every window of the model's bars, one bar apart; whole files in one split; the same store the second time."""
    data = ScoreDataConfig(folder=str(folder))
    store = open_store(data, CONFIG, log=tell_nobody)

    assert (store.samples.shape, store.samples.dtype) == ((12, 2, 32, 36), np.uint8)
    assert sorted(set(store.attributes["piece"])) == [f"{i}.mid" for i in range(6)]
    assert set(store.attributes["bar"]) == {0, 1}
    by_piece = {piece: set(store.split[store.attributes["piece"] == piece]) for piece in store.attributes["piece"]}
    assert all(len(splits) == 1 for splits in by_piece.values())
    assert 0 < len(store.indices("test")) < len(store.samples)
    assert open_store(data, CONFIG, log=tell_nobody).folder == store.folder
    write(folder / "7.mid", [tune(52), tune(66)])
    assert open_store(data, CONFIG, log=tell_nobody).folder != store.folder


def test_pieces_of_long_names_stay_apart(tmp_path: Path):
    """Though they begin and end alike."""
    for i in range(6):
        write(tmp_path / "a collection with a long name" / f"{i}{'x' * 100}.mid", [tune(50 + i), tune(65 + i)])
    store = open_store(ScoreDataConfig(folder=str(tmp_path)), CONFIG, log=tell_nobody)

    pieces, counts = np.unique(store.attributes["piece"], return_counts=True)
    assert counts.tolist() == [2] * 6
    assert all(piece.endswith("x.mid") for piece in pieces)


def test_files_that_cannot_be_used_are_left_out_one_by_one_with_the_reason(folder: Path):
    write(folder / "waltz.mid", [tune()], meter=(3, 4))
    write(folder / "drums.mid", [tune()], drums=(0,))
    write(folder / "short.mid", [[(0, 4, 60)]])
    write(folder / "many.mid", [tune(50), tune(60), tune(70)])
    write(folder / "late.mid", [[(0, 4, 60), (16 * 20_000, 4, 60)]])
    (folder / "broken.mid").write_bytes(b"MThd nothing")
    said: list[str] = []
    store = open_store(ScoreDataConfig(folder=str(folder)), CONFIG, log=said.append)

    assert len(set(store.attributes["piece"])) == 6
    (line,) = said
    assert "6 of 12 MIDI files are left out" in line
    for reason in (
        "waltz.mid: not in 4/4 throughout, but in 3/4",
        "drums.mid: no notes besides drums",
        "short.mid: 1 bars, and the model's scores have 2",
        "many.mid: 3 tracks with notes, more than the model's 2; train one with model.tracks=3",
        "late.mid: its last note ends in bar 20,001; at most 10,000 are read",
        "broken.mid: cannot be read",
    ):
        assert reason in line


def test_a_file_without_permission_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(folder / "closed.mid", [tune()])
    opened = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "closed.mid":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    said: list[str] = []
    open_store(ScoreDataConfig(folder=str(folder)), CONFIG, log=said.append)

    assert "closed.mid: cannot be read: Permission denied" in said[0]


def test_scores_that_are_all_alike_are_refused(tmp_path: Path):
    """A folder of copies of one piece is named before it is trained on."""
    for i in range(12):
        write(tmp_path / f"{i}.mid", [[(4 * bar, 4, 60) for bar in range(8)]])
    with pytest.raises(InvalidFileError, match=rf"^{tmp_path.name}: all \d+ samples to train on are the same"):
        open_store(ScoreDataConfig(folder=str(tmp_path)), CONFIG)


def test_a_folder_without_usable_files_says_why(tmp_path: Path):
    """No folder, no MIDI file, or none that can be used, with every reason."""
    with pytest.raises(InvalidFileError, match="no such folder"):
        open_store(ScoreDataConfig(folder=str(tmp_path / "nowhere")), CONFIG)
    with pytest.raises(InvalidFileError, match=r"no MIDI file \(.mid, .midi\)"):
        open_store(ScoreDataConfig(folder=str(tmp_path)), CONFIG)
    write(tmp_path / "waltz.mid", [tune()], meter=(3, 4))
    with pytest.raises(InvalidFileError, match=r"none of 1 MIDI files can be used:\n  .*waltz.mid: not in 4/4"):
        open_store(ScoreDataConfig(folder=str(tmp_path)), CONFIG)


def test_unknown_names_and_wrong_sizes_are_refused():
    with pytest.raises(NotFoundError, match='Did you mean "bach-chorales"'):
        open_store(ScoreDataConfig(name="bach-chorale"), CONFIG)
    with pytest.raises(InvalidValueError, match=r"model.tracks = 4"):
        open_store(ScoreDataConfig(name="bach-chorales"), CONFIG)
    with pytest.raises(NotFoundError, match="bach-chorales"):
        build_dataset("bach-choral")


def test_pieces_are_kept_as_lines():
    """A monophonic grid and its lines are the same thing: pitches struck, held, silent."""
    grid = progression(3, tracks=4, bars=2, steps=16)
    grid[1, 4:8] = SILENT

    assert (as_grid(as_line(grid)) == grid).all()


def test_finer_steps_hold_what_was_struck():
    grid = np.zeros((1, 2, 128), dtype=np.uint8)
    add_note(grid[0], 60, 0, 1)
    add_note(grid[0], 60, 1, 2)

    assert stretch(grid, 3)[0, :, 60].tolist() == [STRUCK, HELD, HELD, STRUCK, HELD, HELD]


def test_notes_outside_move_by_octaves():
    """Into the nearest octave that the model has."""
    grid = np.zeros((1, 1, 128), dtype=np.uint8)
    grid[0, 0, [24, 60, 100]] = STRUCK
    found = fit_pitches(grid, ScoreConfig(tracks=1, bars=1, steps=16, pitches=24, lowest=48))

    assert (np.flatnonzero(found[0, 0]) + 48).tolist() == [48, 60, 64]


def windows(*pieces: tuple[int, ...]) -> np.ndarray:
    """The first window of each piece, which has its pitches as quarter notes; all pieces train."""
    grids = {}
    names = [name for name in map(str, range(100)) if not hash_split([name])[0]]
    for name, pitches in zip(names, pieces, strict=False):
        grid = np.zeros((1, 16, 24), dtype=np.uint8)
        for i, pitch in enumerate(pitches):
            add_note(grid[0], pitch, 4 * i, 4 * i + 4)
        grids[name] = grid
    source = Windows("w", "CC0-1.0", grids, ScoreConfig(tracks=1, bars=1, steps=16, pitches=24, lowest=48))
    return source.render(range(len(pieces)))[0]


def test_drums_stay_the_instruments_that_they_are(tmp_path: Path):
    """They are neither transposed nor moved by octaves; what lies outside is left out. Lead sheets have none."""
    for i in range(6):
        write(tmp_path / f"{i}.mid", [tune(55 + i), [(0, 32, 36), (4, 4, 49)]], drums=(1,))
    config = ScoreConfig(tracks=5, bars=2, steps=16, pitches=36, lowest=48)
    data = ScoreDataConfig(folder=str(tmp_path), mapping="families")
    store = open_store(data, config, log=tell_nobody)
    sheets = LeadSheetDataConfig(folder=str(tmp_path), mapping="families")
    melodies = open_store(sheets, ScoreConfig(tracks=2, bars=2, steps=16), log=tell_nobody).samples[:, 0]

    assert not data.augments
    assert set(np.argwhere(np.isin(store.samples[:, 0], (STRUCK, HELD)))[:, -1]) == {49 - 48}
    assert sheets.augments
    assert set(np.argwhere(np.isin(melodies, (STRUCK, HELD)))[:, -1] + 24) >= {55}
    assert not np.isin(melodies[:, :, [36 - 24, 49 - 24]], (STRUCK, HELD)).any()
    assert ScoreDataConfig(name="bach-chorales", mapping="families").augments


def test_a_row_tells_how_far_it_may_be_transposed():
    """No further than the lowest and the highest pitch of its voice in the training split, and half an octave."""
    rows = windows((5, 6, 7, 8), (10, 11, 12, 13), (3, 20, 3, 20))
    assert (rows[0] == BEYOND).any(axis=(0, 1)).nonzero()[0].tolist() == [0, 1, 2, 21, 22, 23]
    assert np.flatnonzero(read_ranges(rows)[0]).tolist() == list(range(3, 21))
    down, up = measure_room(torch.from_numpy(rows))
    assert list(zip(down.tolist(), up.tolist(), strict=True)) == [(2, FURTHEST), (FURTHEST, FURTHEST), (0, 0)]
    moved = transpose(torch.from_numpy(rows[:1]).expand(50, -1, -1, -1), torch.linspace(0, 0.99, 50))
    assert set((moved == STRUCK)[:, 0, 0].int().argmax(-1).tolist()) == set(range(3, 12))


def test_networks_see_what_sounds_and_where_notes_start(tmp_path: Path):
    """A roll a voice, and one of all onsets, of -1 and 1; without random numbers in the key that is stored."""
    store = chorale_store(CONFIG, tmp_path / "store")
    rolls = decode(store.samples[:5])
    rows = store.samples[:5]

    assert rolls.shape == (5, 3, 32, 36)
    assert ((rolls[:, :2] > 0).numpy() == ((rows == STRUCK) | (rows == HELD))).all()
    assert ((rolls[:, 2] > 0).numpy() == (rows == STRUCK).any(axis=1)).all()
    assert set(rolls.unique().tolist()) == {-1.0, 1.0}


def test_transposition_keeps_intervals_and_ranges(tmp_path: Path):
    """Every voice moves by the same interval, and none leaves its range; the same numbers, the same keys."""
    store = chorale_store(CONFIG, tmp_path / "store")
    rows = store.samples[store.indices("train")]
    moved = decode(augment(torch.from_numpy(rows), Noise(0)))

    assert torch.equal(moved, decode(augment(torch.from_numpy(rows), Noise(0))))
    assert not torch.equal(moved, decode(rows))
    reach = torch.from_numpy(read_ranges(rows))
    assert not ((moved[:, :2] > 0).any(dim=2) & ~reach).any()
    for before, after in zip(decode(rows), moved, strict=True):
        shifts = [int((roll > 0).nonzero()[:, 2].min()) for roll in (before, after)]
        assert torch.equal(before.roll(shifts[1] - shifts[0], 2), after)


def test_intervals_are_those_of_exact_arithmetic():
    """Each share in [0, 1) is cut into as many parts as there are keys; the largest share does not round up to one."""
    wide = np.zeros((1, 1, 4, 48), np.uint8)
    wide[0, 0, :, 24] = STRUCK  # has room on both sides
    levels = 2**24  # of a uniform number
    shares = torch.tensor([0, levels // 13, levels // 13 + 1, 6 * levels // 13, levels // 2, levels - 1]) / levels
    moved = transpose(torch.from_numpy(wide).expand(len(shares), -1, -1, -1), shares)

    expected = [24 - FURTHEST + int(float(share) * (2 * FURTHEST + 1)) for share in shares]
    assert (moved == STRUCK)[:, 0, 0].int().argmax(-1).tolist() == expected


def test_the_table_of_the_data_says_that_a_recipe_is_of_scores(tmp_path: Path):
    """Scores and sounds are two kinds of one modality, each with its own way to read what is stored."""
    store = chorale_store(CONFIG, tmp_path / "store")
    kind, other = (kind_of(load_recipe(name)) for name in ("music-musegan", "music-wavegan"))

    assert kind is not other
    assert torch.equal(kind.decode(store.samples[:2]), decode(store.samples[:2]))
    assert list_datasets()["bach-chorales"][1] is kind


def test_chorales_are_windows_of_kept_pieces():
    """Pieces that were parsed once are not parsed again; windows of the config's bars, steps and pitches."""
    lines = {f"bwv{i}": as_line(progression(i, tracks=4, bars=5, steps=16)) for i in range(12)}
    place = cache_dir() / "data" / "bach-chorales-v1-pieces.npz"
    place.parent.mkdir(parents=True)
    np.savez_compressed(place, **lines)
    store = build_dataset("bach-chorales")

    assert store.samples.shape == (24, 4, 64, 48)
    assert store.about["license"].startswith("public domain (Bach)")
    finer = ScoreConfig(tracks=4, bars=2, steps=48, pitches=84, lowest=24)
    assert open_store(ScoreDataConfig(name="bach-chorales"), finer).samples.shape == (48, 4, 96, 84)


def test_a_chorale_is_read_from_the_corpus():
    """BWV 103.6 from its upbeat on: four voices in sixteenths, whole bars, ties as one note."""
    corpus = pytest.importorskip("music21.corpus")
    grid = convert_piece(corpus.parse("bwv103.6"))

    assert grid.shape == (4, 12 * 16, 128)
    assert list_notes(grid[0])[:6] == [(0, 2, 66), (2, 2, 67), (4, 4, 69), (8, 4, 71), (12, 4, 69), (16, 4, 74)]
    assert ((grid != SILENT).sum(axis=2) <= 1).all()
    reached = [np.flatnonzero(voice.any(axis=0))[[0, -1]].tolist() for voice in grid]
    assert reached == [[66, 76], [59, 71], [54, 66], [45, 59]]
