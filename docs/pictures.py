"""Write the pictures of README, of the tables of entries, and of the pages on faces and steering.

They are made of released weights and seeds: python docs/pictures.py [entries].
`python docs/pictures.py real` writes the real faces of the gallery instead. It needs the data set of
`zoo data build synthetic-faces`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import zoo
from zoo.data import Store, cache_dir
from zoo.samples import Images, enlarge, tile
from zoo.styled import StyledGAN

DOCS = Path(__file__).parent


HEIGHT = 64  # pixels of a picture in a table
SHOWN = 128  # pixels a side of a face in the gallery
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
        if suffix == ".webp":
            model.sample(4, seed=0).save(path, columns=4)
        elif model.Output is Images:
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
    for side in (64, 32):
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


def main() -> None:
    if "real" in sys.argv[1:]:
        save_real_faces()
        return
    save_entries()
    save_gallery()
    if "entries" in sys.argv[1:]:
        return
    zoo.load("faces-dcgan").sample(32, seed=0).save(DOCS / "faces-dcgan-wide.png", columns=8, scale=2)

    model = zoo.load("faces-stylegan2")
    assert isinstance(model, StyledGAN)
    model.sample(64, seed=0).save(DOCS / "faces-stylegan2.png", scale=2)

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


if __name__ == "__main__":
    main()
