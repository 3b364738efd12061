"""Build what the gallery of the documentation loads, in docs/gallery/dist: python docs/gallery/build.py.

It exports entries as ONNX files, and writes the latents of seeds 0 to 255 beside them. It fetches onnxruntime-web from
npm, once, and unpacks two of its files. `manifest.json` has the size and the sha256 of each file; the page checks them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import zoo
from zoo.conditional import ConditionalGAN
from zoo.data import cache_dir
from zoo.errors import InvalidFileError, ZooError
from zoo.exporting import write_model
from zoo.gan import GAN, Graph
from zoo.io.atomic import replace_atomically
from zoo.io.weights import digest
from zoo.noise import Noise
from zoo.registry import registry
from zoo.styled import StyledGAN
from zoo.text.gan import TextGAN

HERE = Path(__file__).parent
DIST = HERE / "dist"
SEEDS = 256  # whose latents are shipped
FACE = 64  # pixels of a side of the real faces

RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
RUNTIME_URL = f"https://registry.npmjs.org/{RUNTIME}/-/{RUNTIME}-{RUNTIME_VERSION}.tgz"
RUNTIME_INTEGRITY = (  # as `npm view onnxruntime-web@1.30.0 dist.integrity` states it
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
RUNTIME_BYTES = 64 << 20  # the most that is downloaded; the archive has 33 MB
RUNTIME_FILES = {  # the build without WebGPU, which lacks operators of clips and sounds
    "ort.mjs": "package/dist/ort.wasm.bundle.min.mjs",
    "ort.wasm.gz": "package/dist/ort-wasm-simd-threaded.wasm",
}

ENTRIES = ("faces-stylegan2", "faces-dcgan", "music-wavegan", "music-musegan", "text-seqgan", "video-mocogan")
WITH_DISCRIMINATOR = ("faces-dcgan",)  # the visitor's opponent


class Steered(nn.Module):
    """A generator with styles: latents [N, Z], truncation [N, 1], sums of edits [N, W] -> samples."""

    def __init__(self, model: StyledGAN) -> None:
        super().__init__()
        self.generator = model.generator
        self.register_buffer("mean_style", model.mean_style.float())

    def forward(self, latents: Tensor, truncation: Tensor, edit: Tensor) -> Tensor:
        styles = self.generator.make_styles(latents)[:, 0]
        styles = self.mean_style + truncation * (styles - self.mean_style) + edit
        return self.generator(latents, styles=styles[:, None])


def prepare_steered(model: StyledGAN, n: int, seed: int) -> Graph:
    """Return what the exported file of a model with styles computes, with inputs of n samples of a seed."""
    noise = Noise(seed)
    width = model.generator.style_dim
    return Graph(
        module=Steered(model),
        inputs={"latents": model.latents(n, noise), "truncation": noise.uniform(n, 1), "edit": noise.normal(n, width)},
    )


def make_latents(model: GAN) -> np.ndarray:
    """Make the latents of the first sample of each seed, float32 [256, Z], without the condition."""
    make = model.prior if isinstance(model, ConditionalGAN) else model.latents
    return np.concatenate([make(1, Noise(seed)).numpy() for seed in range(SEEDS)])


def describe(name: str, model: GAN, latents: np.ndarray) -> dict[str, Any]:
    """Describe an entry for the page: how long its latents are, and what can be chosen."""
    config = model.config
    entry = registry.entry(name)
    weights = digest(entry.bundled / "generator.safetensors")
    facts: dict[str, Any] = {"license": entry.license, "weights": weights, "latents": latents.shape[1]}
    facts |= {key: value for key, value in model.describe_samples().items() if key in ("rate", "classes")}
    facts |= {key: getattr(config, key) for key in ("steps", "lowest", "bpm") if hasattr(config, key)}
    if isinstance(model, TextGAN):
        first = model.sample(1, seed=0).texts[0]
        facts |= {"length": config.length, "line": len(first.partition("\n")[0])}
    return facts


def write_entry(name: str) -> dict[str, Any]:
    """Write the files of an entry; returns what the manifest says of it."""
    model = zoo.load(name, device="cpu")
    model.eval()
    steered = isinstance(model, StyledGAN)

    def prepare(n: int, seed: int) -> Graph:
        return prepare_steered(model, n, seed) if steered else model.prepare_export(n, seed)

    files = {"generator": f"{name}.onnx", "latents": f"{name}-latents.bin"}
    half = not isinstance(model, TextGAN)  # with rounded logits, half of the seeds write another text than in Python
    exported = write_model(prepare, DIST / files["generator"], half=half, facts={"entry": name})
    print(exported)
    if name in WITH_DISCRIMINATOR:
        files["discriminator"] = f"{name}-discriminator.onnx"
        path = DIST / files["discriminator"]
        print(write_model(model.prepare_discriminator_export, path, half=True, facts={"entry": name}))
    latents = make_latents(model)
    (DIST / files["latents"]).write_bytes(latents.astype("<f4").tobytes())
    more: Mapping[str, Any] = {}
    if steered and model.named_directions:
        more = {"directions": {key: each.vector.tolist() for key, each in model.named_directions.items()}}
    if isinstance(model, TextGAN) and model.vocabulary is not None:
        more = {"tokens": model.vocabulary.tokens}
    if more:
        files["facts"] = f"{name}.json"
        (DIST / files["facts"]).write_text(json.dumps(more, ensure_ascii=False), encoding="utf-8")
    state = {"state": [1, *exported.inputs["state"][1:]]} if "state" in exported.inputs else {}
    return {**describe(name, model, latents), **state, "files": files}


def write_real_faces() -> str:
    """Write the held-out faces of real-faces.png as raw pixels, gzipped: uint8 [N, 64, 64, 3]."""
    with Image.open(HERE / "real-faces.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows, columns = pixels.shape[0] // FACE, pixels.shape[1] // FACE
    faces = pixels.reshape(rows, FACE, columns, FACE, 3).swapaxes(1, 2)
    (DIST / "real-faces.bin.gz").write_bytes(gzip.compress(faces.tobytes(), mtime=0))
    return "real-faces.bin.gz"


def fetch_runtime() -> bytes:
    """Return the archive of onnxruntime-web, from the cache or else from npm.

    Raises InvalidFileError for other bytes than those that npm published, and OSError without a network.
    """
    path = cache_dir() / "packages" / f"{RUNTIME}-{RUNTIME_VERSION}.tgz"
    if path.is_file():
        content, where = path.read_bytes(), f"{path}: delete this file and build again"
    else:
        with urllib.request.urlopen(RUNTIME_URL, timeout=60) as answer:
            content, where = answer.read(RUNTIME_BYTES), f"{RUNTIME_URL}: nothing of it was kept"
    check_integrity(content, RUNTIME_INTEGRITY, where)
    if not path.is_file():
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
    return content


def check_integrity(content: bytes, integrity: str, where: str) -> None:
    """Compare bytes with a digest as npm states it. Raises InvalidFileError."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != integrity:
        raise InvalidFileError(f"{where}: it is not the {RUNTIME} {RUNTIME_VERSION} that npm published")


def write_runtime() -> dict[str, str]:
    """Write the files of onnxruntime-web that a Worker needs."""
    with tarfile.open(fileobj=io.BytesIO(fetch_runtime())) as archive:
        for name, member in RUNTIME_FILES.items():
            content = archive.extractfile(member).read()  # type: ignore[union-attr]
            # Not all hosts compress .wasm files, and uncompressed they are four times as large.
            (DIST / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return {"module": "ort.mjs", "wasm": "ort.wasm.gz"}


def describe_file(path: Path) -> dict[str, Any]:
    """State the bytes of a file, and the sha256 of its content.

    The content of a .gz is what is in it, because a host may unpack it on the way.
    """
    data = path.read_bytes()
    content = gzip.decompress(data) if path.suffix == ".gz" else data
    return {"bytes": len(data), "sha256": hashlib.sha256(content).hexdigest()}


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    runtime = write_runtime()
    entries = {name: write_entry(name) for name in ENTRIES}
    reals = write_real_faces()
    files = {path.name: describe_file(path) for path in sorted(DIST.iterdir())}
    manifest = {
        "version": zoo.__version__,
        "seeds": SEEDS,
        "runtime": {"name": f"{RUNTIME} {RUNTIME_VERSION}", "files": runtime},
        "entries": entries,
        "reals": {"file": reals, "side": FACE},
        "files": files,
    }
    (DIST / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(f"{DIST}: {sum(each['bytes'] for each in files.values()) / 1e6:.1f} MB in {len(files)} files")


if __name__ == "__main__":
    try:
        main()
    except (ZooError, OSError) as error:
        sys.exit(f"error: {error}")
