"""Write the pictures of the pages on faces and steering, from released weights and seeds: python docs/pictures.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

import zoo
from zoo.samples import Images
from zoo.styled import StyledGAN

DOCS = Path(__file__).parent


def main() -> None:
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
