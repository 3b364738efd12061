"""Fine-tune faces-stylegan2-small on 300 pictures of another kind: busts of stone and bronze.

    python benchmarks/fine_tune.py --out OUT [--kimg 10 25 50]

The busts are portraits of `synthetic-faces` with other colors, of people who are in no other data set. 300 are trained
on, a tenth of them held out for the log. 1,000 others are what samples are compared with, and 1,000 more stand for real
pictures. The released weights are trained on with each augmentation of AUGMENTATIONS.

OUT gets the folders of pictures, a run for each augmentation, figures.json, figures.md, and pictures.png: the first
busts, and the samples of one seed before and after each run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import checkout  # noqa: F401 - makes zoo importable
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import zoo
from zoo.data.images import decode_images
from zoo.faces.metrics.evaluate import load_features
from zoo.metrics.report import distribution_metrics
from zoo.render.attributes import Portrait, sample_portrait
from zoo.render.heads import HeadRenderer
from zoo.samples import Images
from zoo.training.run import Run

ENTRY = "faces-stylegan2-small"
NUM_PHOTOS, NUM_COMPARED = 300, 1000
FIRST_PERSON = 10_000_000  # far beyond the people of synthetic-faces and talking-faces
PEOPLE = 2  # of `sample_portrait`: a person has two portraits, of which one is taken
AUGMENTATIONS = {
    "none": {},
    "ADA": {"train.augment": "ada", "train.ada.kimg": 100},  # the paper's 500 kimg are ten times this training
    "DiffAugment": {"train.augment": ["color", "translation", "cutout"]},
}
MATERIALS = {  # linear RGB
    "limestone": (0.50, 0.48, 0.44),
    "marble": (0.62, 0.61, 0.59),
    "bronze": (0.30, 0.22, 0.12),
    "granite": (0.38, 0.36, 0.33),
    "patina": (0.20, 0.24, 0.20),
}
SHOWN = 16  # pictures a row


def make_bust(number: int) -> Portrait:
    """Turn the portrait of a person into a bust of one material, before a dark wall."""
    rng = np.random.default_rng([FIRST_PERSON, number])
    portrait = sample_portrait(FIRST_PERSON + PEOPLE * number)
    red, green, blue = np.array(list(MATERIALS.values()))[rng.integers(len(MATERIALS))] * rng.uniform(0.85, 1.1)
    stone, shade = (red, green, blue), (0.8 * red, 0.8 * green, 0.8 * blue)
    wall = float(rng.uniform(0.02, 0.12))
    return replace(
        portrait,
        skin=stone, lip=shade, iris=shade, hair=shade, garment_color=stone, melanin=0.3, freckles=0.0, hair_grey=0.0,
        headwear=0, glasses=0, garment=0, blink=0.0, mouth_open=0.0, smile=0.3 * portrait.smile, light_warmth=0.0,
        background=0, background_colors=((wall, wall, wall), (0.4 * wall, 0.4 * wall, 0.4 * wall)),
    )  # fmt: skip


def write_busts(folder: Path, numbers: range) -> Tensor:
    """Render busts into a folder, unless they are there; returns them as images [N, 3, 64, 64]."""
    paths = [folder / f"{number:05}.png" for number in numbers]
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        pictures, _ = HeadRenderer(64).render_portraits([make_bust(number) for number in numbers])
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture).save(path)
    return decode_images(np.stack([np.asarray(Image.open(path)) for path in paths]))


def fine_tune(name: str, photos: Path, run: Path, kimg: float) -> None:
    """Train the released weights on a folder of photos until `kimg`; a run that is there goes on."""
    if run.exists():
        if (done := Run.open(run).kimg) > kimg:
            raise SystemExit(f"{run}: is at {done:g} kimg, beyond {kimg:g}; choose another --out")
        zoo.train(resume=run, overrides={"train.total_kimg": kimg})
    else:
        settings = {"train.total_kimg": kimg, "train.lr_decay_share": 0.0, **AUGMENTATIONS[name]}
        zoo.train(ENTRY, out=run, data=str(photos), start=ENTRY, overrides=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder of pictures, runs and figures")
    parser.add_argument("--kimg", type=float, nargs="+", default=[10, 25, 50], help="when samples are compared")
    parser.add_argument("--runs", nargs="+", choices=AUGMENTATIONS, help="some of the runs; all if absent")
    parser.add_argument("--photos", type=int, default=NUM_PHOTOS, help="pictures to train on")
    parser.add_argument("--samples", type=int, default=NUM_COMPARED, help="pictures and samples that are compared")
    options = parser.parse_args()

    count = options.samples
    photos = write_busts(options.out / "photos", range(options.photos))
    first = max(NUM_PHOTOS, options.photos)  # nothing is compared with what was trained on
    others = write_busts(options.out / "others", range(first, first + 2 * count))
    features = load_features("")
    real, held_out = features(others).split(count)

    def measure(run: str | Path) -> tuple[Tensor, dict[str, float]]:
        samples = zoo.load(run).sample(count, seed=0).tensor
        found = distribution_metrics(real, features(samples), held_out, extractor=features.name, seed=0)
        figures["real"] = {metric.name: metric.real_vs_real for metric in found}
        return samples[:SHOWN], {metric.name: metric.value for metric in found}

    figures: dict[str, dict[str, float | None]] = {}
    before, figures["before"] = measure(ENTRY)
    rows = [photos[:SHOWN], before]
    for name in options.runs or AUGMENTATIONS:
        run = options.out / name.lower()
        for kimg in options.kimg:
            fine_tune(name, options.out / "photos", run, kimg)
            shown, figures[f"{name}, {kimg:g} kimg"] = measure(run)
            (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
            (options.out / "figures.md").write_text(format_table(figures))
        rows.append(shown)
        Images(tensor=torch.cat(rows)).save(options.out / "pictures.png", columns=SHOWN)


def format_table(figures: dict[str, dict[str, float | None]]) -> str:
    """Format figures as a table of Markdown, a row for each run and time."""
    columns = ("frechet_distance", "precision", "recall")
    rows = [f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, values in figures.items():
        rows.append(f"| {name} | {' | '.join(f'{values[column]:.3g}' for column in columns)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
