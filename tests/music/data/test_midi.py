"""MIDI files that were cut, never finished, or changed."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.hanging import must_end

from zoo.errors import InvalidFileError
from zoo.music.data import midi
from zoo.music.data.midi import HELD, STRUCK, read_grid

NOTES = bytes.fromhex("00903c50 8360803c00 00904050 8360804000")  # two quarter notes, c and e
END = bytes.fromhex("00ff2f00")


def make_header(ticks: int = 480, tracks: int = 1) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 0, tracks, ticks)


def make_track(events: bytes, claimed: int | None = None) -> bytes:
    return b"MTrk" + struct.pack(">I", len(events) if claimed is None else claimed) + events


WHOLE = make_header() + make_track(NOTES + END)


@pytest.mark.parametrize(
    "data",
    [
        make_header() + make_track(NOTES),
        make_header() + make_track(NOTES, 0xFFFFFFFF),
        make_header() + make_track(NOTES + END, 0xFFFFFFFF),
        make_header() + make_track(NOTES + b"\0\x90\x43", 0xFFFFFFFF),
        make_header() + make_track(NOTES + b"\0\xff\x03\x20cut"),
        make_header() + b"ODD " + struct.pack(">I", 4) + b"\0\1\2\3" + make_track(NOTES, 1000),
        make_header(tracks=2) + make_track(END, 2000) + make_track(NOTES + END),
        make_header(tracks=2) + make_track(END + b"more than eight bytes") + make_track(NOTES + END),
    ],
    ids=[
        "no end",
        "no length",
        "a length of the unfinished",
        "half a note",
        "half a text",
        "another chunk",
        "two tracks",
        "a rest",
    ],
)
def test_an_unfinished_recording_is_read_as_far_as_it_goes(tmp_path: Path, data: bytes):
    """A track whose length was never written, or that has no end, has the notes that are there."""
    (tmp_path / "whole.mid").write_bytes(WHOLE)
    (tmp_path / "unfinished.mid").write_bytes(data)

    whole, unfinished = (read_grid(tmp_path / f"{name}.mid", tracks=1, steps=16) for name in ("whole", "unfinished"))

    assert np.array_equal(unfinished, whole)
    assert whole[0, :8, 60].tolist() == [STRUCK, HELD, HELD, HELD, 0, 0, 0, 0]
    assert whole[0, :8, 64].tolist() == [0, 0, 0, 0, STRUCK, HELD, HELD, HELD]


@pytest.mark.parametrize("piece", [b"\x80", b"MTrk\xff\xff\xff\xff", b"\xf0\xff"], ids=["number", "tracks", "sysex"])
def test_a_large_file_of_nothing_ends_soon(tmp_path: Path, piece: bytes):
    """A megabyte of a number's or a track's beginnings is refused in time that grows with its size and not faster."""
    data = make_header() + b"MTrk\xff\xff\xff\xff" + piece * (1_000_000 // len(piece))
    (tmp_path / "large.mid").write_bytes(data)

    with must_end(), pytest.raises(InvalidFileError):
        read_grid(tmp_path / "large.mid", tracks=1, steps=16)


def test_no_ticks_are_refused(tmp_path: Path):
    """A file with 0 ticks a quarter note is no MIDI file, and the error says why."""
    (tmp_path / "none.mid").write_bytes(make_header(ticks=0) + make_track(NOTES + END))

    with pytest.raises(InvalidFileError, match="0 ticks"):
        read_grid(tmp_path / "none.mid", tracks=1, steps=16)


def test_a_file_of_millions_of_notes_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing decodes it, and no more than the limit is read of it."""
    monkeypatch.setattr(midi, "MOST_BYTES", len(WHOLE))
    monkeypatch.setattr(midi, "_bound_chunks", lambda data: pytest.fail("decoded") if len(data) > len(WHOLE) else data)
    (tmp_path / "long.mid").write_bytes(make_header() + make_track(NOTES * 2 + END))
    (tmp_path / "whole.mid").write_bytes(WHOLE)

    with pytest.raises(InvalidFileError, match=r"long\.mid: a MIDI file of more than \d+ MiB"):
        read_grid(tmp_path / "long.mid", tracks=1, steps=16)
    assert read_grid(tmp_path / "whole.mid", tracks=1, steps=16).any()


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), SystemError("damaged")])
def test_whatever_the_decoder_raises_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fail(data: bytes) -> bytes:
        raise error

    monkeypatch.setattr(midi, "_bound_chunks", fail)
    (tmp_path / "a.mid").write_bytes(WHOLE)

    with pytest.raises(InvalidFileError, match=r"a\.mid: cannot be read: "):
        read_grid(tmp_path / "a.mid", tracks=1, steps=16)


FUZZ = """
import sys
from pathlib import Path
import numpy as np
from zoo.errors import InvalidFileError
from zoo.music.data.midi import read_grid

whole, path, rng = bytes.fromhex(sys.argv[1]), Path(sys.argv[2]), np.random.default_rng(0)
read = 0
for _ in range(1500):
    data = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] = rng.choice([0, 1, 0x2F, 0x7F, 0x80, 0xF0, 0xFF, rng.integers(256)])
    path.write_bytes(data[: rng.integers(20, len(data) + 1)])
    try:
        read_grid(path, tracks=1, steps=16)
        read += 1
    except InvalidFileError:
        pass
print(read)
"""


def test_no_changed_byte_ends_the_process(tmp_path: Path):
    """Whatever bytes of a file change or are missing, it is read or refused. A crash would end the other process."""
    data = make_header(tracks=2) + make_track(NOTES + END) + make_track(b"\0\xff\x03\x04name" + NOTES + END)

    done = subprocess.run(
        [sys.executable, "-c", FUZZ, data.hex(), tmp_path / "changed.mid"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-500:]
    assert 100 < int(done.stdout) < 1400
