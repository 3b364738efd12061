"""Write the pictures of the course from seeds: python docs/course/pictures.py [NAME ...].

`ten-faces` needs the data set of `zoo data build synthetic-faces`. The others run code blocks of the lessons.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image

import zoo
from zoo.data import Store, cache_dir

HERE = Path(__file__).parent
SEED = 0
ORDER = (3, 7, 0, 8, 5, 1, 9, 2, 6, 4)  # a shuffle: numbers below 5 are the real faces
VIEW = 3.2  # pictures of points show the square from -VIEW to VIEW
REAL, FAKE = "#1b4f72", "#c0392b"

matplotlib.use("Agg")
plt.rcParams.update({"font.size": 9, "svg.hashsalt": "", "axes.spines.top": False, "axes.spines.right": False})


def save(name: str) -> None:
    plt.tight_layout()
    plt.savefig(HERE / f"{name}.png", dpi=100, metadata={"Software": None})
    plt.close()


def run_lesson(page: str, blocks: int) -> dict[str, Any]:
    """Run the first Python blocks of a lesson, and return their names."""
    text = (HERE / page).read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # lessons save files
        shutil.copy(HERE / "faces-log.jsonl", folder)
        exec("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)[:blocks]), found)
    return found


def save_ten_faces() -> None:
    """Five held-out faces of the data set and five of faces-dcgan, of one seed, nothing picked."""
    store = Store.open(cache_dir() / "data" / "synthetic-faces-v1-64px")
    rows = np.random.default_rng(SEED).choice(store.indices("test"), 5, replace=False)
    faces = np.concatenate([store.samples[np.sort(rows)], zoo.load("faces-dcgan").sample(5, seed=SEED).to_uint8()])
    rows_of_five = faces[list(ORDER)].reshape(2, 5, 64, 64, 3).swapaxes(1, 2).reshape(128, 320, 3)
    Image.fromarray(rows_of_five).save(HERE / "ten-faces.png", optimize=True)


def show_points(axes: Any, points: torch.Tensor, real: torch.Tensor, title: str) -> None:
    axes.scatter(*real.T, s=6, c=REAL, marker="s", linewidths=0)
    axes.scatter(*points.T, s=6, c=FAKE, linewidths=0)
    axes.set(xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW), xticks=[], yticks=[], aspect="equal", title=title)


def save_forty_lines() -> None:
    """The points of lesson 2 at four moments, over the discriminator's opinion."""
    lesson = run_lesson("2-forty-lines.md", 1)
    side = torch.linspace(-VIEW, VIEW, 64)
    places = torch.cartesian_prod(side, side)
    latents, real = torch.randn(400, 2), lesson["real_points"](400)
    _, axes = plt.subplots(1, 4, figsize=(8, 2.3))
    step = 0
    for axis, until in zip(axes, (0, 100, 500, 1000), strict=True):
        while step < until:
            lesson["train_step"]()
            step += 1
        with torch.no_grad():
            opinion = lesson["discriminator"](places).sigmoid().view(64, 64).T
            extent = (-VIEW, VIEW, -VIEW, VIEW)
            axis.imshow(opinion, origin="lower", extent=extent, cmap="PuOr", vmin=0, vmax=1, alpha=0.6)
            show_points(axis, lesson["generator"](latents), real, f"step {step}")
    save("forty-lines")


def save_slopes() -> None:
    """The slopes of both generator losses over D's probability, and over its logit."""
    logits = torch.linspace(-6, 6, 121)
    d = logits.sigmoid()
    _, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True)
    for axis, x, label in ((axes[0], d, "D(G(z))"), (axes[1], logits, "logit")):
        axis.plot(x, -d, label="minimax", color=REAL, linestyle="--")
        axis.plot(x, d - 1, label="non-saturating", color=FAKE)
        axis.set(xlabel=label)
    axes[0].set(ylabel="slope by the logit")
    axes[1].legend(frameon=False, loc="center left")
    save("slopes")


def save_starve() -> None:
    """The generator's gradient norm in lesson 4, with both losses."""
    lesson = run_lesson("4-starve-it.md", 1)
    plt.figure(figsize=(6, 2.6))
    for name, style in (("minimax", "--"), ("non_saturating", "-")):
        found = lesson["train"](name)
        plt.semilogy([norm for _, norm, _ in found], style, label=name, color=REAL if name == "minimax" else FAKE)
    plt.gca().set(xlabel="update of the generator", ylabel="norm of its gradient")
    plt.legend(frameon=False)
    save("starve")


def save_tiles() -> None:
    """Tiles of lesson 5: real ones, and those that this computer generates after 600 steps; others round otherwise."""
    lesson = run_lesson("5-collapse-it.md", 1)
    for name, tiles in (
        ("real", lesson["make_tiles"](lesson["Noise"](seed=2))),
        ("generated", lesson["samples"].tensor),
    ):
        rows = tiles.reshape(4, 16, 3, 4, 4).permute(0, 3, 1, 4, 2).reshape(16, 64, 3)
        pixels = ((rows + 1) * 127.5).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).resize((384, 96), Image.Resampling.NEAREST).save(HERE / f"tiles-{name}.png")


def save_faces_log() -> None:
    """The log of lesson 6 from 10 kimg on: advantage and diversity, and both losses."""
    log = run_lesson("6-faces.md", 1)["log"]
    kimg = [line["kimg"] for line in log]
    _, axes = plt.subplots(2, 1, figsize=(6, 3.6), sharex=True)
    for axis, curves in (
        (axes[0], {"advantage": "report/advantage", "diversity": "report/diversity"}),
        (axes[1], {"loss of D": "loss/D", "loss of G": "loss/G"}),
    ):
        for (label, key), color, style in zip(curves.items(), (REAL, FAKE), ("--", "-"), strict=True):
            axis.plot(kimg, [line[key] for line in log], label=label, color=color, linestyle=style)
        axis.set(ylim=(0, None))
        axis.legend(frameon=False, loc="best")
    axes[1].set(xlabel="kimg")
    save("faces-log")


def save_phase() -> None:
    """The two waves of lesson 7, and their spectrograms."""
    lesson = run_lesson("7-text-music-video.md", 3)
    _, axes = plt.subplots(2, 2, figsize=(6, 3), sharey="row")
    first = 110  # audio samples: 5 ms
    for column, wave, mel, title in zip(
        axes.T, (lesson["wave"], lesson["moved"]), lesson["mels"], ("the tone", "moved by half a period"), strict=True
    ):
        column[0].plot(lesson["seconds"][:first] * 1000, wave[0, :first], color=REAL)
        column[0].set(xlabel="ms", title=title)
        column[1].imshow(mel[0], origin="lower", aspect="auto", cmap="inferno")
        column[1].set(xticks=[], yticks=[], xlabel="1 s")
    save("phase")


def save_hours() -> None:
    """The hours of lesson 8."""
    hours = run_lesson("8-cost-and-questions.md", 3)["hours"]
    plt.figure(figsize=(6, 2.6))
    plt.barh(list(hours), list(hours.values()), color=REAL)
    plt.gca().invert_yaxis()
    plt.gca().set(xlabel="hours of one thread")
    save("hours")


def save_spiral() -> None:
    """The paths of the game of two numbers of lesson 8, without and with a penalty."""
    plt.figure(figsize=(5, 3.2))
    for penalty, color, style in ((0, FAKE, "-"), (1, REAL, "--")):
        points = [(1.0, 0.0)]
        for _ in range(100):
            x, y = points[-1]
            points.append((x - 0.1 * y, y + 0.1 * (x - penalty * y)))
        plt.plot(*zip(*points, strict=True), color=color, linestyle=style, label=f"penalty {penalty}")
    plt.plot(0, 0, "k+")
    plt.gca().set(xlabel="x of G", ylabel="y of D", aspect="equal")
    plt.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save("spiral")


WRITERS = {
    "ten-faces": save_ten_faces,
    "forty-lines": save_forty_lines,
    "slopes": save_slopes,
    "starve": save_starve,
    "tiles": save_tiles,
    "faces-log": save_faces_log,
    "phase": save_phase,
    "hours": save_hours,
    "spiral": save_spiral,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or WRITERS:
        WRITERS[name]()
