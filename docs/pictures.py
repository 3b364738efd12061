"""Write the pictures, sounds and clips of README and of the documentation: python docs/pictures.py [NAME ...].

They are made of released weights and seeds. `clips`, `hits`, `windows`, `fine-tune`, `real` and `course` show data,
too: they need the extra `data`, and the last two the data set of `zoo data build synthetic-faces`.
"""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from players import WRITERS as PLAYERS  # docs/players.py
from players import save_vocoder

import zoo
from zoo.data import Store, cache_dir
from zoo.data.store import About
from zoo.music.data.drums import INSTRUMENTS
from zoo.music.data.scores import build_dataset as build_scores
from zoo.music.data.scores import decode as decode_scores
from zoo.music.data.sounds import DrumHits, Sound, SoundDataConfig, compute_hits, make_rows
from zoo.music.data.sounds import decode as decode_sounds
from zoo.samples import Images, enlarge, tile
from zoo.styled import StyledGAN
from zoo.video.data.datasets import MovingDigits, ShapeMotion, TalkingFaces
from zoo.video.samples import Clips

DOCS = Path(__file__).parent
CHINESE = DOCS.parent / "docs_zh"
CLIP_RATE = 12.5  # frames a second

HEIGHT = 64  # pixels of a picture in a table
SHOWN = 128  # pixels a side of a face in the gallery
SIDES = (64, 32)  # pixels a side of real faces
SCORES = {"music-musegan": 1, "music-midinet": 3}  # as many as are about as wide as four pictures


def save_entries() -> None:
    """Save a strip of the first samples of seed 0 of each entry that has pictures."""
    (DOCS / "entries").mkdir(exist_ok=True)
    for name in zoo.list_models(pretrained=True):
        model = zoo.load(name)
        suffix = ".webp" if model.Output.SUFFIXES[0] == ".webp" else ".png"
        path = DOCS / "entries" / f"{name}{suffix}"
        if model.Output.READABLE:
            continue
        if suffix == ".webp" or model.Output is Images:
            samples = model.sample(4, seed=0)
            samples.save(path, columns=4, scale=HEIGHT // samples.tensor.shape[-1])
        else:
            samples = model.sample(SCORES.get(name, 4), seed=0)
            samples.save(path, columns=len(samples))
            with Image.open(path) as drawing:
                small = drawing.convert("RGB").resize((round(drawing.width * 96 / drawing.height), 96))
            small.quantize(64).save(path, optimize=True)


def save_real_faces() -> None:
    """Save held-out faces, nothing picked: a sheet without borders for the visitor's guesses, and 16 of two sizes."""
    for side in SIDES:
        store = Store.open(cache_dir() / "data" / f"synthetic-faces-v1-{side}px")
        chosen = np.random.default_rng(1).choice(store.indices("test"), 48, replace=False)
        faces = store.samples[np.sort(chosen)]
        if side == 64:
            sheet = faces.reshape(6, 8, side, side, 3).swapaxes(1, 2).reshape(6 * side, 8 * side, 3)
            Image.fromarray(sheet).save(DOCS / "gallery" / "real-faces.png", optimize=True)
        shown = Image.fromarray(tile(enlarge(faces[:16], SHOWN // side), 4, padding=2))
        shown.save(DOCS / "gallery" / f"real-faces-{side}px.webp", lossless=True)


def save_gallery() -> None:
    """Save the first 16 samples of seed 0 of each entry of images, as large as the real faces beside them."""
    for name in zoo.list_models("faces", pretrained=True):
        samples = zoo.load(name).sample(16, seed=0)
        grid = samples.grid(4, scale=SHOWN // samples.tensor.shape[-1])
        grid.save(DOCS / "gallery" / f"{name}.webp", lossless=True)


def save_faces() -> None:
    zoo.load("faces-dcgan").sample(64, seed=0).save(DOCS / "faces-dcgan.png")
    zoo.load("faces-stylegan2").sample(32, seed=0).save(DOCS / "faces-stylegan2-wide.png", columns=8, scale=2)
    for name in ("faces-stylegan2", "faces-r3gan"):
        zoo.load(name).sample(64, seed=0).save(DOCS / f"{name}.png", scale=2)


def save_steer() -> None:
    """Save a mix, a walk and edits of faces-stylegan2."""
    model = zoo.load("faces-stylegan2")
    assert isinstance(model, StyledGAN)
    seeds = ["--rows", "1,2,3", "--columns", "4,5,6,7", "--truncation", "0.8", "--scale", "2"]
    subprocess.run([sys.executable, "-m", "zoo", "mix", "faces-stylegan2", *seeds, "--out", DOCS / "steer-mix.png"])

    model.walk(72, seeds=[1, 2, 3, 4], rate=18, truncation=0.8).save(DOCS / "steer-walk.webp", scale=3)

    people = model.sample(8, seed=3, truncation=0.8)
    sheets = [people, *(model.edit(people, **{name: 2.0}) for name in model.named_directions)]
    stack([sheet.grid(8, scale=2) for sheet in sheets if isinstance(sheet, Images)]).save(DOCS / "steer-edits.png")


def stack(pictures: list[Image.Image]) -> Image.Image:
    """Put pictures of one width below each other."""
    sheet = Image.new("RGB", (pictures[0].width, sum(picture.height for picture in pictures)), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (0, sum(other.height for other in pictures[:i])))
    return sheet


def save_curve() -> None:
    """Save the curve of text-seqgan, which `zoo evaluate` made for its card."""
    shutil.copy(zoo.info("text-seqgan").bundled / "samples" / "curve.png", DOCS / "text-seqgan.png")


# --- data --------------------------------------------------------------------------------------------------------


def save_clips_of_data() -> None:
    """Save the first eight clips of shape-motion and of moving-digits, and eight people of talking-faces.

    One of the people, the seventh, is in the test split.
    """
    shapes, digits = (source.render(range(8))[0] for source in (ShapeMotion(), MovingDigits()))
    show_clips(np.concatenate([shapes, digits])).save(DOCS / "shapes-and-digits.webp", columns=8)
    faces = TalkingFaces()
    actions = len(faces.labels)
    numbers = [person * actions + person % actions for person in range(7, 15)]
    show_clips(faces.render(numbers)[0]).save(DOCS / "talking-faces.webp", columns=8)


def show_clips(clips: np.ndarray) -> Clips:
    """Show stored clips uint8 [N, T, H, W, 3] as samples."""
    return Clips(tensor=torch.from_numpy(clips).permute(0, 4, 1, 2, 3) / 127.5 - 1, rate=CLIP_RATE)


def save_hits_of_data() -> None:
    """Save the first stroke of each class of drum-hits, made into rows as those of the data set."""
    gan = zoo.create("music-wavegan")
    first: dict[int, Sound] = {}
    for stroke in compute_hits():
        first.setdefault(stroke.label, stroke)
        if len(first) == len(INSTRUMENTS):
            break
    strokes = [first[label] for label in sorted(first)]
    data = SoundDataConfig(name=DrumHits.name, cut="first")
    about = About(name=DrumHits.name, version=DrumHits.version, license=DrumHits.license)
    rows = make_rows(strokes, data, gan.config, about=about, classes=list(INSTRUMENTS), one_in=5)
    gan.output(decode_sounds(rows.render(range(len(first)))[0])).save(DOCS / "music-drum-hits.png", columns=2)


def save_windows_of_data() -> None:
    """Save the first window of each of the first eight pieces of bach-chorales, which is built for it."""
    store = build_scores("bach-chorales")
    first = np.unique(store.attributes["piece"], return_index=True)[1]
    rows = store.samples[np.sort(first)[:8]]
    zoo.create("music-musegan").output(decode_scores(rows)).save(DOCS / "music-bach.png", columns=2)


def save_fine_tuning() -> None:
    """Save busts, and samples before and after two trainings on 300 of them, which take an hour."""
    script = DOCS.parent / "benchmarks" / "fine_tune.py"
    place = cache_dir() / "busts"
    subprocess.run([sys.executable, script, "--out", place, "--runs", "none", "DiffAugment"], check=True)
    shutil.copy(place / "pictures.png", DOCS / "fine-tune.png")


# --- all ---------------------------------------------------------------------------------------------------------


def run_script(path: str, *names: str) -> None:
    subprocess.run([sys.executable, DOCS / path, *names], check=True)


def copy_to_chinese() -> None:
    """Copy the pictures that the Chinese pages show, so that these lie beside their pages, too."""
    for page in CHINESE.rglob("*.md"):
        for shown in re.findall(r"""(?:\]\(|<img src=")([\w/-]+\.(?:png|webp))""", page.read_text(encoding="utf-8")):
            place = page.parent / shown
            place.parent.mkdir(exist_ok=True)
            shutil.copy(DOCS / place.relative_to(CHINESE), place)


COURSE = runpy.run_path(str(DOCS / "course" / "pictures.py"))["WRITERS"]

# What writes files, and the patterns of these files, relative to docs.
WRITERS: dict[str, tuple[Callable[[], None], list[str]]] = {
    "entries": (save_entries, [f"entries/{name}.*" for name in zoo.list_models(pretrained=True)]),
    "faces": (save_faces, ["faces-dcgan.png", "faces-stylegan2-wide.png", "faces-stylegan2.png", "faces-r3gan.png"]),
    "steer": (save_steer, ["steer-mix.png", "steer-walk.webp", "steer-edits.png"]),
    "curve": (save_curve, ["text-seqgan.png"]),
    "players": (
        lambda: run_script("players.py"),
        [
            "vocoder-*",
            "video-vgan-streams.webp",
            *(f"{name}.*" for name, write in PLAYERS.items() if write is not save_vocoder),
        ],
    ),
    "course": (lambda: run_script("course/pictures.py"), [f"course/{name}*.png" for name in COURSE]),
    "gallery": (save_gallery, [f"gallery/{name}.webp" for name in zoo.list_models("faces", pretrained=True)]),
    "real": (save_real_faces, ["gallery/real-faces.png", *(f"gallery/real-faces-{side}px.webp" for side in SIDES)]),
    "clips": (save_clips_of_data, ["shapes-and-digits.webp", "talking-faces.webp"]),
    "hits": (save_hits_of_data, ["music-drum-hits.png"]),
    "fine-tune": (save_fine_tuning, ["fine-tune.png"]),
    "windows": (save_windows_of_data, ["music-bach.png"]),
    "chinese": (copy_to_chinese, []),  # the last one: it copies what the others wrote
}

if __name__ == "__main__":
    for name in sys.argv[1:] or WRITERS:
        WRITERS[name][0]()
