"""Clips as data: what the rendered data sets show, and how your own clips are read."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.moves import read_clip
from PIL import Image

from zoo.data import images
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError
from zoo.noise import Noise
from zoo.render.motion import ACTIONS, FRAMES, sample_clip
from zoo.video.data import files
from zoo.video.data.datasets import (
    ClipDataConfig,
    MovingDigits,
    ShapeMotion,
    TalkingFaces,
    augment,
    build_dataset,
    decode,
    open_store,
)

MODEL = SimpleNamespace(resolution=16, frames=4)
STRAIGHT, TURNED = (1, 0, 0, 0, 1, 0, 0, 0), (0, 1, 0, -1, 0, 0, 0, 0)  # of an MP4 track: as it is, to the right


def moving(frames: int = 8, width: int = 16, height: int = 16) -> np.ndarray:
    """uint8 [T, height, width, 3]: a white column that moves to the right on dark red."""
    clip = np.full((frames, height, width, 3), (60, 0, 0), dtype=np.uint8)
    for t in range(frames):
        clip[t, :, 2 * t % width : 2 * t % width + 2] = 255
    return clip


def write_frames(folder: Path, clip: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for t, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / f"{t:03}.png")
    return folder


def write_gif(path: Path, clip: np.ndarray, duration: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = map(Image.fromarray, clip)
    first.save(path, save_all=True, append_images=others, duration=duration)
    return path


def write_video(
    path: Path, clip: np.ndarray, rate: int = 25, *, format: str | None = None, aspect: Fraction | None = None
) -> Path:
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "10"}
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


# -- made by this library


def test_shapes_are_a_pure_function_of_their_number():
    """A clip does not depend on which others are rendered with it."""
    together, table = ShapeMotion().render([3, 4, 5])
    alone, row = ShapeMotion().render([4])

    np.testing.assert_array_equal(together[1:2], alone)
    assert table[1] == row[0]


def test_shapes_move_upwards_or_leftwards_and_keep_color_and_size():
    """A shape crosses the picture on its class's axis, in one color, and no larger than its side."""
    clips, table = ShapeMotion(stride=1, frames=32).render(range(24))
    for clip, row in zip(clips, table, strict=True):
        seen = clip.any(axis=-1)
        if not seen.any():
            continue  # black on black: one color in 2 ** 24
        first, last = (np.argwhere(seen[t]).mean(0) for t in (0, -1))
        axis = 0 if row["label"] == 0 else 1  # rows, or columns
        assert first[axis] > 50
        assert last[axis] < 12
        assert abs(first[1 - axis] - last[1 - axis]) <= 1  # back where it began
        colors = np.unique(clip[seen], axis=0)
        np.testing.assert_array_equal(colors, [np.round(row["rgb"] * 255)])
        assert all(np.ptp(np.argwhere(frame), axis=0).max() < row["side"] for frame in seen)


def test_a_stride_takes_frames_of_the_same_clip():
    """Every second frame is every second frame of the whole clip."""
    whole, half = ShapeMotion(stride=1, frames=32).render([7])[0], ShapeMotion(stride=2, frames=16).render([7])[0]

    np.testing.assert_array_equal(whole[:, ::2], half)


def test_more_frames_than_a_clip_has_are_refused():
    """The error says how many frames there are."""
    with pytest.raises(InvalidValueError, match="33 frames of stride 1 need 33, and a clip has 32"):
        ShapeMotion(frames=33, stride=1)
    with pytest.raises(InvalidValueError, match="talking-faces: 32 frames"):
        open_store(ClipDataConfig(name="talking-faces"), SimpleNamespace(resolution=64, frames=32))


@pytest.mark.parametrize("change", [{"rate": 25.0}, {"crop": "none"}])
def test_settings_for_your_own_clips_are_refused_for_others(change: dict[str, Any]):
    """Rather than passed over."""
    with pytest.raises(InvalidValueError, match="talking-faces is square"):
        ClipDataConfig(name="talking-faces", **change)


def test_digits_bounce():
    """Two digits stay whole inside of the picture, at the speed that the table says."""
    pytest.importorskip("sklearn")
    clips, table = MovingDigits().render([0, 1, 6])

    assert clips.shape == (3, 16, 64, 64, 3)
    assert clips.max() == 255
    speeds = np.linalg.norm(table["velocity"], axis=2)
    assert speeds.min() >= 1
    assert speeds.max() <= 5
    mass = clips.astype(float).sum((2, 3, 4))
    assert (mass.min(1) > 0.6 * mass.max(1)).all()  # less only where the digits lie over one another
    np.testing.assert_array_equal(table["digits"], np.sort(table["digits"], axis=1))


def test_digits_of_the_test_split_are_not_for_training():
    """Where each digit has its own name, none is in the tables of both."""
    digits = MovingDigits(frames=2)
    digits._digits = (np.zeros((140, 28, 28)), np.arange(140))
    names, split = digits.render(range(400))[1]["digits"], digits.split()[:400]
    train, test = (set(names[split == which].flat) for which in (0, 1))

    assert train.isdisjoint(test)
    assert (len(train), len(test)) == (120, 20)  # all of them are seen


@pytest.mark.parametrize("action", range(len(ACTIONS)), ids=ACTIONS)
def test_an_action_moves_what_it_says_and_nothing_else(action: int):
    """All portraits of a clip are of one person in one light; only the action's own feature leaves its rest."""
    feature, least = {
        "smile": ("smile", 0.5), "open-mouth": ("mouth_open", 0.5), "blink": ("blink", 0.6), "turn-left": ("yaw", 15),
        "turn-right": ("yaw", 15), "nod": ("pitch", 8), "raise-brows": ("brow_raise", 0.6),
    }[ACTIONS[action]]  # fmt: skip
    swaying = {"yaw", "pitch", "roll"}
    for identity in range(12):
        clip = sample_clip(identity * len(ACTIONS) + action)
        assert len(clip) == FRAMES
        changed = {name for name in vars(clip[0]) if len({str(getattr(p, name)) for p in clip}) > 1}
        assert feature in changed
        assert changed <= swaying | {feature} | {"smile": {"mouth_open"}}.get(ACTIONS[action], set()) | (
            {"gaze"} if "turn" in ACTIONS[action] else set()
        )
        values = np.array([getattr(p, feature) for p in clip])
        assert np.ptp(values) > least
        if ACTIONS[action] == "turn-left":
            assert values.min() < values[0] - 15
        assert {p.identity for p in clip} == {identity}


def test_actions_begin_and_end_gently():
    """No feature jumps: the largest step between two frames is a small part of a step."""
    for identity in range(12):
        clip = sample_clip(identity * len(ACTIONS) + ACTIONS.index("turn-right"))
        yaw = np.array([p.yaw for p in clip])
        assert abs(np.diff(yaw)).max() < 0.5 * np.ptp(yaw)


def test_talking_faces_hold_light_and_background():
    """Only the head moves: the picture's upper corners are the same in all frames."""
    pytest.importorskip("anny")
    source = TalkingFaces(size=32)
    clips, table = source.render([ACTIONS.index("turn-left")])

    assert clips.shape == (1, 16, 32, 32, 3)
    assert table["label"][0] == ACTIONS.index("turn-left")
    assert np.ptp(clips[0, :, :3, :3].astype(int), axis=0).max() == 0
    assert np.ptp(clips[0].astype(int), axis=0).max() > 60


def test_people_of_the_test_split_are_nobody_s_of_the_other():
    """Seven clips of each person, all in one split; at least 6,000 to train on."""
    split = TalkingFaces().split()

    assert (split == 0).sum() >= 6000
    assert (split.reshape(-1, len(ACTIONS)) == split[:: len(ACTIONS), None]).all()


def test_an_unknown_data_set_suggests_the_nearest():
    """A slip of the keyboard is answered with what was meant."""
    with pytest.raises(NotFoundError, match="talking-faces"):
        build_dataset("talking-face")


# -- between the store and the networks


def test_decoded_clips_lie_between_minus_one_and_one():
    """Bytes 0 and 255 become -1 and 1; frames stay in order."""
    rows = moving()[None]
    clips = decode(rows)

    assert clips.shape == (1, 3, 8, 16, 16)
    assert clips.min() == -1
    assert clips.max() == 1
    np.testing.assert_array_equal(clips[0, :, 5].permute(1, 2, 0).numpy(), rows[0, 5] / np.float32(127.5) - 1)


def test_flipped_clips_are_flipped_in_all_frames():
    """With random numbers half of the clips are mirrored, each as a whole."""
    rows = np.stack([moving()] * 16)
    plain, flipped = decode(rows), decode(augment(torch.from_numpy(rows), Noise(0)))
    same = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped == plain.flip(4)).flatten(1).all(1)

    assert (same | mirrored).all()
    assert 0 < same.sum() < 16


# -- your own clips


def test_a_folder_of_videos_animations_and_frames(tmp_path: Path):
    """All kinds are found; a folder's name is the class where every clip has one; long clips give several."""
    write_frames(tmp_path / "right" / "a", moving(8))
    write_gif(tmp_path / "right" / "b.gif", moving(5))
    write_video(tmp_path / "left" / "c.mp4", moving(12)[:, :, ::-1].copy())
    lines: list[str] = []

    store = open_store(ClipDataConfig(folder=str(tmp_path)), MODEL, log=lines.append)

    assert store.samples.shape == (2 + 1 + 3, 4, 16, 16, 3)
    assert (store.folder / "labels.json").read_text().split() == ['["left",', '"right"]']
    assert sorted(store.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert len(store.indices("test")) > 0
    assert lines == []


def test_frames_are_stored_as_they_were(tmp_path: Path):
    """A folder of frames of the right size comes through unchanged, and a second look finds it built."""
    write_frames(tmp_path / "clips" / "a", moving(8))
    data = ClipDataConfig(folder=str(tmp_path / "clips"), stride=2)
    store = open_store(data, MODEL, log=lambda line: None)

    np.testing.assert_array_equal(store.samples[0], moving(8)[::2])
    assert open_store(data, MODEL).folder == store.folder


@pytest.mark.parametrize("workers", [1, 2])
def test_clips_that_cannot_be_used_are_counted_and_named(tmp_path: Path, workers: int):
    """Broken, too short and mixed ones are left out, and it is said which and why."""
    write_frames(tmp_path / "good", moving(4))
    write_frames(tmp_path / "short", moving(3))
    mixed = write_frames(tmp_path / "mixed", moving(4))
    Image.fromarray(moving(1, width=20)[0]).save(mixed / "900.png")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a no more")
    lines: list[str] = []

    store = open_store(ClipDataConfig(folder=str(tmp_path)), MODEL, workers=workers, log=lines.append)

    assert len(store.samples) == 1
    assert "3 of 4 clips are left out" in lines[0]
    assert "short: 3 frames, 4 are needed" in lines[0]
    assert "mixed: frames of mixed sizes: 16 x 16 and 20 x 16" in lines[0]
    assert "broken.gif" in lines[0]


def test_an_animation_that_ends_in_the_middle_is_refused(tmp_path: Path):
    """Wherever that is: Pillow raises one thing or another."""
    picture = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    whole = write_gif(tmp_path / "whole.gif", picture).read_bytes()
    for length in range(800, len(whole) - 1, 61):
        (tmp_path / "cut.gif").write_bytes(whole[:length])
        with suppress(InvalidFileError):
            assert len(read_clip(tmp_path / "cut.gif", 32)) <= 6  # it ended between two frames


def test_a_video_without_frames_is_named(tmp_path: Path):
    """A container that holds no picture is a bad file, whatever its name says."""
    pytest.importorskip("av")
    write_frames(tmp_path / "good", moving(4))
    (tmp_path / "empty.mp4").write_bytes(b"")
    lines: list[str] = []
    open_store(ClipDataConfig(folder=str(tmp_path)), MODEL, log=lines.append)

    assert "empty.mp4" in lines[0]
    with pytest.raises(InvalidFileError, match="empty"):
        read_clip(tmp_path / "empty.mp4", 16)


def test_a_folder_without_a_long_enough_clip_says_what_is_needed(tmp_path: Path):
    """Where all are too short the error says how long they would have to be."""
    write_frames(tmp_path / "short", moving(6))
    with pytest.raises(InvalidFileError, match=r"no clip of 7 frames or more .* model.frames = 4 at data.stride = 2"):
        open_store(ClipDataConfig(folder=str(tmp_path), stride=2), MODEL, log=lambda line: None)
    with pytest.raises(InvalidFileError, match="no such folder"):
        open_store(ClipDataConfig(folder=str(tmp_path / "nowhere")), MODEL)


def test_a_video_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without PyAV a video is refused with what to install, and an animation is not."""
    write_gif(tmp_path / "a.gif", moving(4))
    (tmp_path / "b.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)

    assert read_clip(tmp_path / "a.gif", 16).shape == (4, 16, 16, 3)
    with pytest.raises(MissingDependencyError, match=r"gan-zoo\[video\]"):
        open_store(ClipDataConfig(folder=str(tmp_path)), MODEL)


def test_a_rate_chooses_the_frames_that_are_shown_then(tmp_path: Path):
    """At half of a video's rate every second frame is read, at twice of it each one twice."""
    path = write_gif(tmp_path / "a.gif", moving(8), duration=40)
    own = read_clip(path, 16)

    np.testing.assert_array_equal(read_clip(path, 16, rate=12.5), own[::2])
    np.testing.assert_array_equal(read_clip(path, 16, rate=50), np.repeat(own, 2, axis=0))


def test_the_last_frame_of_an_animation_is_shown_as_long_as_the_file_says(tmp_path: Path):
    """A clip without motion at its end is saved as one long frame, and is read back unchanged."""
    clip = np.concatenate([moving(4), np.repeat(moving(4)[-1:], 4, axis=0)])
    path = tmp_path / "still.webp"
    frames = [Image.fromarray(frame) for frame in clip]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, lossless=True)

    np.testing.assert_array_equal(read_clip(path, 16, rate=12.5), clip)


def test_frames_without_leading_zeros_are_read_in_their_order(tmp_path: Path):
    clip = moving(12)
    for t, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"frame{t}.png")

    np.testing.assert_array_equal(read_clip(tmp_path, 16), clip)


@pytest.mark.parametrize("name", ["movie", "clip2", "a", "b", "c"])
def test_a_single_clip_is_both_for_training_and_for_testing(tmp_path: Path, name: str):
    """Its end is held out, whatever it is called; read in pieces, and in parallel, it is what it was."""
    write_frames(tmp_path / name, moving(16))
    store = open_store(ClipDataConfig(folder=str(tmp_path)), MODEL, log=lambda line: None)

    assert store.indices("test").tolist() == [3]
    np.testing.assert_array_equal(store.samples.reshape(16, 16, 16, 3), moving(16))


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix into an MP4 track's header."""
    content = path.read_bytes()
    header = content.index(b"tkhd")
    straight, other = (struct.pack(">9i", *(n << 16 for n in m[:8]), 1 << 30) for m in (STRAIGHT, matrix))
    assert straight in content[header:]
    path.write_bytes(content[:header] + content[header:].replace(straight, other, 1))


@pytest.mark.parametrize(
    ("matrix", "show"),
    [
        (TURNED, lambda clip: np.rot90(clip, -1, axes=(1, 2))),
        ((0, -1, 0, 1, 0, 0, 0, 0), lambda clip: np.rot90(clip, 1, axes=(1, 2))),
        ((-1, 0, 0, 0, -1, 0, 0, 0), lambda clip: clip[:, ::-1, ::-1]),
        ((-1, 0, 0, 0, 1, 0, 0, 0), lambda clip: clip[:, :, ::-1]),
        ((1, 0, 0, 0, -1, 0, 0, 0), lambda clip: clip[:, ::-1]),
        ((0, 1, 0, 1, 0, 0, 0, 0), lambda clip: clip.swapaxes(1, 2)),
        ((0, -1, 0, -1, 0, 0, 0, 0), lambda clip: clip[:, ::-1, ::-1].swapaxes(1, 2)),
    ],
    ids=["right", "left", "half", "mirror", "upside down", "transpose", "transverse"],
)
def test_a_video_is_turned_and_mirrored_as_its_file_says(tmp_path: Path, matrix: tuple[int, ...], show):
    """A phone saves in the track's header how it was held, and some mirror the front camera there."""
    clip = moving(4)
    clip[:, :5, :3] = (0, 0, 200)
    path = write_video(tmp_path / "phone.mp4", clip)
    lying = read_clip(path, 16)
    set_matrix(path, matrix)

    np.testing.assert_array_equal(read_clip(path, 16), show(lying))


@pytest.mark.parametrize(("aspect", "height", "width"), [(Fraction(2), 32, 16), (Fraction(1, 2), 16, 32)])
def test_pixels_that_are_not_square_are_shown_right(tmp_path: Path, aspect: Fraction, height: int, width: int):
    """A disc of an anamorphic video is a disc: as wide as it is high."""
    y, x = np.mgrid[:height, :width]
    disc = ((x + 0.5 - width / 2) / width) ** 2 + ((y + 0.5 - height / 2) / height) ** 2 < 0.11
    clip = np.repeat(np.where(disc, 255, 0).astype(np.uint8)[None, :, :, None], 3, axis=-1)
    path = write_video(tmp_path / "wide.mp4", clip, aspect=aspect)

    seen = read_clip(path, 32, crop="none")[0, :, :, 0] > 128

    assert abs(seen.any(0).sum() - seen.any(1).sum()) <= 2
    assert seen.any(0).sum() > 18


def test_pixels_as_they_are_shown_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pixels that are many times as wide as high would take gigabytes."""
    path = write_video(tmp_path / "wide.mp4", moving(4, 64, 64), aspect=Fraction(50))
    monkeypatch.setattr(images, "MOST_PIXELS", 3200 * 64 - 1)

    with pytest.raises(InvalidFileError, match=r"wide\.mp4: a picture of 3200 x 64 px"):
        read_clip(path, 16)


@pytest.mark.parametrize("name", ["frames.avi", "stream.mp4"])
def test_frames_without_times_follow_one_another_at_the_rate_of_the_file(tmp_path: Path, name: str):
    """An AVI with frames in another order has wrong times, and a bare stream has none: frames are counted."""
    path = write_video(tmp_path / name, moving(25, 64, 64), format="h264" if name == "stream.mp4" else None)
    own = read_clip(path, 16)

    assert len(own) == 25
    np.testing.assert_array_equal(read_clip(path, 16, rate=25), own)


def test_times_that_go_back_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From the first one on, frames are counted."""
    av = pytest.importorskip("av")
    path = write_video(tmp_path / "a.mp4", moving(8))
    own = read_clip(path, 16)
    opened = av.open

    @contextmanager
    def open_with_wrong_times(name: str) -> Iterator[SimpleNamespace]:
        with opened(name) as container:

            def decode(stream: Any) -> Iterator[Any]:
                for frame in container.decode(stream):
                    frame.pts = min(frame.pts, 3 * 512)
                    yield frame

            yield SimpleNamespace(streams=container.streams, format=container.format, decode=decode)

    monkeypatch.setattr(av, "open", open_with_wrong_times)
    np.testing.assert_array_equal(read_clip(path, 16, rate=25), own)


def test_a_video_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its header says how many they are, and the error names the file."""
    path = write_video(tmp_path / "large.mp4", moving(4, 64, 32))
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 32 - 1)
    monkeypatch.setattr(files, "_show", lambda *_: pytest.fail("decoded"))

    with pytest.raises(InvalidFileError, match=r"large\.mp4: a picture of 64 x 32 px"):
        read_clip(path, 16)


def test_frames_that_are_larger_than_a_video_says_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The decoder itself has the limit, where a stream changes its size in the middle."""
    streams = [write_video(tmp_path / f"{size}", moving(6, size, size), format="h264") for size in (64, 512)]
    small, large = (path.read_bytes() for path in streams)
    (tmp_path / "a.mp4").write_bytes(3 * small + large)
    monkeypatch.setattr(files, "MOST_PIXELS", 256 * 256)

    with pytest.raises(InvalidFileError, match=r"a\.mp4: cannot be read: "):
        read_clip(tmp_path / "a.mp4", 16)


def test_frames_that_are_larger_than_an_animation_says_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A later frame of a GIF may be larger than its header states."""
    small, large = (write_gif(tmp_path / f"{n}.gif", moving(1, n, n)).read_bytes() for n in (4, 100))
    image = b"\x2c" + struct.pack("<4H", 0, 0, 100, 100)
    assert image in large
    (tmp_path / "a.gif").write_bytes(small[: small.rindex(b";")] + large[large.index(image) :])
    monkeypatch.setattr(images, "MOST_PIXELS", 1000)

    with pytest.raises(InvalidFileError, match=r"a\.gif: a picture of 100 x 100 px"):
        read_clip(tmp_path / "a.gif", 4)


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), SystemError("damaged")])
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a"])
def test_whatever_a_decoder_raises_leaves_the_clip_out(tmp_path: Path, monkeypatch, name: str, error: Exception):
    """Whichever exception it is and whichever decoder: the clip is named, and the others are used."""
    write = {"a.mp4": write_video, "a.gif": write_gif, "a": write_frames}[name]
    write(tmp_path / name, moving(4))
    write_frames(tmp_path / "good", moving(4))
    converted = files.convert_to_rgb

    def convert(image: Image.Image) -> Image.Image:
        if "good" not in str(getattr(image, "filename", "")):
            raise error
        return converted(image)

    def show(*_: Any) -> Image.Image:
        raise error

    monkeypatch.setattr(files, "convert_to_rgb", convert)
    monkeypatch.setattr(files, "_show", show)
    lines: list[str] = []
    store = open_store(ClipDataConfig(folder=str(tmp_path)), MODEL, log=lines.append)

    assert len(store.samples) == 1
    assert f"1 of 2 clips is left out: {tmp_path / name}: " in lines[0]


def test_clips_that_are_all_alike_are_refused(tmp_path: Path):
    """A folder of copies of one clip is named before it is trained on."""
    for i in range(12):
        write_frames(tmp_path / str(i), moving(4))
    with pytest.raises(InvalidFileError, match=rf"^{tmp_path.name}: all \d+ samples to train on are the same"):
        open_store(ClipDataConfig(folder=str(tmp_path)), MODEL)


def test_crop_takes_the_middle_or_all_on_black(tmp_path: Path):
    """A wide picture loses its sides, or gets bars above and below."""
    clip = np.full((2, 16, 32, 3), 200, dtype=np.uint8)
    clip[:, :, :4] = 0
    path = write_frames(tmp_path / "wide", clip)

    assert read_clip(path, 16, crop="center").min() > 190
    whole = read_clip(path, 16, crop="none")
    assert whole[:, 0].max() == 0
    assert whole[:, 8, 8:].min() > 190


def test_a_frame_that_stays_for_hours_is_refused(tmp_path: Path):
    """A few bytes do not become hours of frames: the clip is refused by its name."""
    path = write_gif(tmp_path / "a.gif", moving(3), duration=650_000)

    with pytest.raises(InvalidFileError, match=r"a\.gif: .*longer than 600 seconds"):
        read_clip(path, 16, rate=25.0)
