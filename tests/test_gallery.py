"""The gallery of docs/gallery.md: what it computes is what Python computes, and a changed file is refused.

The tests with a browser need playwright, a Chromium of the system, and docs/gallery/dist; see docs/gallery/build.py.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import http.server
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.browser import WAIT, open_browser
from PIL import Image

import zoo
from zoo.errors import InvalidFileError
from zoo.gan import slerp
from zoo.io.weights import digest
from zoo.music.data.midi import list_notes
from zoo.music.samples.rendering import RATE, encode_wav, render
from zoo.music.samples.scores import Scores
from zoo.registry import registry
from zoo.samples import Images, enlarge
from zoo.text.policies import sample_categorical

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery"
DIST = GALLERY / "dist"
sys.path.insert(0, str(GALLERY))

import build  # noqa: E402 - docs/gallery/build.py

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed; it runs the JavaScript")


def run_node(script: str, given: Any = None) -> Any:
    """Run an ES module that has helpers.js as `helpers` and what is given as `given`; read the JSON that it prints."""
    module = (GALLERY / "helpers.js").as_uri()
    header = f"import * as helpers from {json.dumps(module)};\nconst given = JSON.parse(process.argv[1]);\n"
    header += "const print = (value) => console.log(JSON.stringify(value));\n"
    command = ["node", "--input-type=module", "-e", header + script, "--", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# --- what the page computes ------------------------------------------------------------------------------------------


@needs_node
def test_a_point_between_two_seeds_is_the_library_s():
    """slerp in the browser is zoo.gan.slerp, for equal latents and at both ends, too."""
    torch.manual_seed(0)
    a, b = torch.randn(1, 8), torch.randn(1, 8)
    for start, end in ((a, b), (a, a), (a, 3 * a)):
        for share in (0.0, 0.3, 1.0):
            given = [start[0].tolist(), end[0].tolist(), share]
            found = run_node("print(Array.from(helpers.slerp(...given)));", given)

            assert found == pytest.approx(slerp(start, end, share)[0].tolist(), abs=1e-6), share


@needs_node
def test_pixels_are_the_library_s_at_any_scale():
    """Images and frames of clips get the levels of `to_uint8`, halves included, and each pixel is a square."""
    images = torch.linspace(-1.2, 1.2, 3 * 4 * 4).view(1, 3, 4, 4)
    images[0, :, 0, 0] = torch.tensor([0.0, 2 / 255, 1 / 255])  # 127.5 and 128.5 are rounded to 128, the even number
    clip = torch.stack([images[0].flip(2), images[0]], dim=1)  # [3, 2, 4, 4]
    wanted = enlarge(Images(tensor=images).to_uint8(), 3)[0]

    for call in ("toPixels(given.image, 4, 3)", "toPixels(given.clip, 4, 3, 1, 2)"):
        given = {"image": images.flatten().tolist(), "clip": clip.flatten().tolist()}
        found = np.array(run_node(f"print(Array.from(helpers.{call}));", given)).reshape(12, 12, 4)

        assert (found[..., :3] == wanted).all()
        assert (found[..., 3] == 255).all()


@needs_node
def test_stored_pixels_become_what_the_discriminator_reads():
    """The levels of real faces become numbers in [-1, 1], channels first."""
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3) * 9
    found = run_node("print(Array.from(helpers.fromPixels(Uint8Array.from(given), 3)));", pixels.flatten().tolist())

    assert found == pytest.approx((pixels.transpose(2, 0, 1).flatten() / 127.5 - 1).tolist(), abs=1e-6)


@needs_node
def test_tokens_are_those_of_the_library():
    """The same logits, uniform numbers and temperature give the same tokens; a banned token is never chosen."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(40, 30)
    logits[:, 0] = -torch.inf
    uniforms = torch.rand(40)
    uniforms[0], uniforms[1] = 0, 1 - 2**-24
    rows = [["-Infinity" if value == -torch.inf else value for value in row] for row in logits.tolist()]
    for temperature in (1.0, 0.5, 1.5):
        wanted = sample_categorical((logits / temperature).softmax(-1), uniforms).tolist()
        found = run_node(
            "print(given.rows.map((row, i) => "
            "helpers.chooseToken(Float32Array.from(row, Number), given.uniforms[i], given.temperature)));",
            {"rows": rows, "uniforms": uniforms.tolist(), "temperature": temperature},
        )

        assert found == wanted
        assert 0 not in found


@needs_node
def test_notes_and_their_sound_are_the_library_s():
    """The rolls of a score give the notes and the sound of `Scores`, and the file is the same but for rounding."""
    generator = torch.Generator().manual_seed(0)
    rolls = torch.where(torch.rand(1, 3, 16, 12, generator=generator) > 0.6, 1.0, -1.0)
    scores = Scores(tensor=rolls, steps=16, lowest=48, bpm=120.0)
    settings = {"voices": 2, "steps": 16, "stepsOfBar": 16, "lowest": 48, "bpm": 120}
    found = run_node(
        "const notes = helpers.listNotes(given.rolls, 2, 16, 12);"
        "const sound = helpers.renderNotes(notes, given.settings);"
        "const file = Buffer.from(helpers.encodeWav(sound, helpers.SYNTH_RATE)).toString('base64');"
        "print({ notes, file });",
        {"rolls": rolls.flatten().tolist(), "settings": settings},
    )
    grid = scores.grids[0]
    wanted = {(voice, *note) for voice in range(2) for note in list_notes(grid[voice])}
    file = encode_wav(render(grid, steps=16, lowest=48, bpm=120.0))
    ours, theirs = base64.b64decode(found["file"]), file

    assert {(note["voice"], note["start"], note["length"], note["pitch"]) for note in found["notes"]} == wanted
    assert ours[:44] == theirs[:44]
    difference = np.frombuffer(ours[44:], "<i2").astype(int) - np.frombuffer(theirs[44:], "<i2")
    assert abs(difference).max() <= 2
    assert np.frombuffer(ours[44:], "<i2").max() > 20_000


@needs_node
def test_classes_and_edits_are_added_as_the_library_does():
    """A class is appended one-hot, and edits add up."""
    directions = {"age": [1, 0], "smile": [0.5, 2]}

    assert run_node("print(Array.from(helpers.addClass(Float32Array.of(5, 6), 1, 3)));") == [5, 6, 0, 1, 0]
    found = run_node("print(Array.from(helpers.addDirections(given, { smile: -2, age: 1 })));", directions)
    assert found == [0, -4]
    assert run_node("print(helpers.splitLines(['a', 'b', 'c', 'd', 'e'], 2));") == ["ab", "cd", "e"]


@needs_node
def test_a_round_is_fair_and_counted():
    """Half of the faces are real on average, none comes twice in a round, and right answers are counted."""
    rounds = run_node("""
        print(Array.from({ length: 300 }, (_, i) =>
          helpers.chooseRound(helpers.makeUniform(i), { faces: 10, reals: 48, seeds: 256 })));
    """)
    faces = [face for each in rounds for face in each]

    assert all(len({(face["real"], face["number"]) for face in each}) == 10 for each in rounds)
    assert np.mean([face["real"] for face in faces]) == pytest.approx(0.5, abs=0.03)
    assert {face["number"] for face in faces if face["real"]} == set(range(48))
    assert max(face["number"] for face in faces) == 255
    answers = "[true, true, false], [{ real: true }, { real: false }, { real: false }]"
    assert run_node(f"print(helpers.countRight({answers}));") == 2


# --- files and digests -----------------------------------------------------------------------------------------------

FETCH = """
globalThis.fetch = async () => new Response(Buffer.from(given.body, "base64"), { status: given.status });
const told = [];
try {
  const content = await helpers.fetchChecked("https://host/a/model.onnx", given.file, (count) => told.push(count));
  print({ content: Buffer.from(content).toString("base64"), told });
} catch (error) {
  print({ error: error.message });
}
"""


def fetch(body: bytes, content: bytes, status: int = 200) -> dict[str, Any]:
    """Fetch `body` where the manifest says that the content is `content`."""
    file = {"bytes": len(body), "sha256": hashlib.sha256(content).hexdigest()}
    return run_node(FETCH, {"body": base64.b64encode(body).decode(), "file": file, "status": status})


@needs_node
def test_a_file_is_used_only_if_it_has_its_digest():
    """A whole file is used, also packed; a changed, cut or missing one is refused with its name."""
    content = bytes(range(256)) * 40

    for body in (content, gzip.compress(content)):
        found = fetch(body, content)
        assert base64.b64decode(found["content"]) == content
        assert found["told"][-1] == len(body)
    changed = bytes([content[0] ^ 1]) + content[1:]
    for body in (changed, content[:-1], gzip.compress(changed), b""):
        assert fetch(body, content)["error"].startswith("model.onnx: not the file that this page was built with")
    assert "error" in fetch(gzip.compress(content)[:-9], content)
    assert fetch(content, content, status=404)["error"].startswith("model.onnx: the server answers 404")


MANIFEST = {
    "runtime": {"files": {"module": "ort.mjs", "wasm": "ort.wasm.gz"}},
    "reals": {"file": "reals"},
    "entries": {"x": {"files": {"generator": "x.onnx", "latents": "x.bin", "discriminator": "d.onnx"}}},
    "files": {name: {"bytes": 1_000_000} for name in ("ort.mjs", "ort.wasm.gz", "x.onnx", "x.bin", "d.onnx", "reals")},
}


@needs_node
def test_a_button_names_the_megabytes_that_it_loads():
    """What another button has loaded does not count again, and a discriminator only where it is used."""
    script = """
    const list = (kinds, loaded) => helpers.listMissing(given, "x", kinds, new Set(loaded));
    const first = list(["generator", "latents", "facts"], []);
    const second = list(["generator", "latents", "discriminator", "reals"], first);
    print([first, second, helpers.formatSize(given, first), helpers.formatSize(given, second)]);
    """
    first = ["ort.mjs", "ort.wasm.gz", "x.onnx", "x.bin"]

    assert run_node(script, MANIFEST) == [first, ["d.onnx", "reals"], "4.0 MB", "2.0 MB"]


def test_a_runtime_that_npm_did_not_publish_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Other bytes are not kept in the cache, and are not taken from it either."""
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(build.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"something else"))
    with pytest.raises(InvalidFileError, match=r"nothing of it was kept: it is not the onnxruntime-web"):
        build.fetch_runtime()
    assert not list(tmp_path.rglob("*.tgz"))

    path = tmp_path / "packages" / f"onnxruntime-web-{build.RUNTIME_VERSION}.tgz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"changed")
    with pytest.raises(InvalidFileError, match="delete this file and build again"):
        build.fetch_runtime()


def test_a_runtime_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The archive that npm published is kept, and the next build needs no network."""
    asked = []

    def open_url(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"archive")

    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(build.urllib.request, "urlopen", open_url)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(b"archive").digest()).decode()
    monkeypatch.setattr(build, "RUNTIME_INTEGRITY", integrity)

    assert [build.fetch_runtime(), build.fetch_runtime()] == [b"archive", b"archive"]
    assert asked == [build.RUNTIME_URL]


def test_the_manifest_states_what_is_in_a_packed_file(tmp_path: Path):
    """The digest is that of the content, because a host may unpack it on the way; the bytes are those to load."""
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(b"content"))
    (tmp_path / "x").write_bytes(b"content")

    plain, other = build.describe_file(tmp_path / "x"), build.describe_file(packed)
    assert plain == {"bytes": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    assert other == {"bytes": packed.stat().st_size, "sha256": plain["sha256"]}


def test_real_faces_are_cut_out_of_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The file has the faces of the sheet one after the other, row by row."""
    monkeypatch.setattr(build, "DIST", tmp_path)
    faces = np.frombuffer(gzip.decompress((tmp_path / build.write_real_faces()).read_bytes()), np.uint8)
    sheet = np.asarray(Image.open(GALLERY / "real-faces.png").convert("RGB"))

    assert (faces.reshape(48, 64, 64, 3)[9] == sheet[64:128, 64:128]).all()


def test_a_file_that_steers_computes_what_the_library_does():
    """Truncation and sums of directions as inputs give the faces of the options `truncation` and `edit`."""
    model = zoo.load("faces-stylegan2", device="cpu")
    edit = {"smile": 2.0, "yaw": -1.0}
    wanted = model.sample(2, seed=3, truncation=0.7, edit=edit)
    shift = sum(amount * model.named_directions[name].vector for name, amount in edit.items())
    with torch.no_grad():
        found = build.Steered(model)(wanted.latents, torch.full((2, 1), 0.7), shift.expand(2, -1))

    assert (found - wanted.tensor).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["faces-dcgan", "music-wavegan"])
def test_the_latents_of_a_seed_are_those_of_its_first_sample(name: str):
    """Row 7 is the latent of `sample(1, seed=7)`, without the class."""
    model = zoo.load(name, device="cpu", discriminator=False)
    rows = build.make_latents(model)

    assert rows.shape == (256, 100)
    assert (rows[7] == model.sample(1, seed=7).latents.numpy()[0, :100]).all()


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_that_is_not_built():
    """Each live section has an entry and a kind that exist, and no script names another host."""
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    scripts = {name: (GALLERY / name).read_text(encoding="utf-8") for name in ("page.js", "worker.js", "helpers.js")}
    sections = re.findall(r'data-kind="(\w+)" data-entry="([\w-]+)" data-button="[^"]+"', page)
    kinds = re.search(r"const SECTIONS = \{(.*?)\}", scripts["page.js"], re.S)

    assert kinds is not None
    assert len(sections) == page.count('class="gallery-live"') == 7
    assert {entry for _, entry in sections} == set(build.ENTRIES)
    assert {kind for kind, _ in sections} == set(re.findall(r"(\w+):", kinds[1]))
    assert "<noscript>" in page
    assert "document" not in scripts["helpers.js"]
    for name, script in scripts.items():
        assert not re.search(r"https?://", script), name


def test_every_released_entry_is_shown_with_what_it_cannot_do():
    """Each has a sentence of its own, real samples beside it, and a heading on the page."""
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    written = tomllib.loads((GALLERY / "entries.toml").read_text(encoding="utf-8"))
    released = [name for name, entry in registry.entries.items() if entry.has_weights]

    assert written["entry"].keys() == set(released)
    for name in released:
        part = page.partition(f"\n#### {name}\n")[2].partition("\n####")[0]
        assert written["entry"][name]["cannot"] in part
        assert "<figcaption>Generated: " in part
        assert "<figcaption>Real: " in part
    for sound in re.findall(r'src="\.\./([^"]+\.mp3)"', page):
        assert (ROOT / "docs" / sound).is_file()


# --- in a browser ----------------------------------------------------------------------------------------------------


def read_manifest() -> dict[str, Any]:
    """Read the manifest, or skip where the gallery was not built of today's weights."""
    path = DIST / "manifest.json"
    if not path.is_file():
        pytest.skip("docs/gallery/dist is not built: python docs/gallery/build.py")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, entry in manifest["entries"].items():
        if entry["weights"] != digest(registry.entry(name).bundled / "generator.safetensors"):
            pytest.skip(f"docs/gallery/dist has older weights of {name}: python docs/gallery/build.py")
    return manifest


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the gallery of the built site, served on loopback."""
    pytest.importorskip("mkdocs")
    read_manifest()
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/gallery/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    """The gallery's page; the test fails where a script did."""
    page = browser.new_page(reduced_motion="reduce")
    page.set_default_timeout(WAIT)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.requests = []
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(site)
    page.locator(".gallery-live button").last.wait_for()
    yield page
    page.close()
    assert errors == []


def start(page: Any, kind: str, entry: str) -> Any:
    """Press the button of a section, and wait until it shows something."""
    section = page.locator(f'[data-kind="{kind}"][data-entry="{entry}"]')
    section.locator("> p > button").click()
    section.locator("canvas, blockquote").first.wait_for()
    section.locator("> p > button").wait_for(state="detached")
    return section


def set_slider(section: Any, name: str, value: float, expected: str) -> None:
    """Move a slider, and wait until the caption says what is expected."""
    section.get_by_label(name, exact=True).fill(str(value))
    wait_for_caption(section, expected)


def wait_for_caption(section: Any, expected: str) -> None:
    section.locator("figcaption", has_text=re.compile(expected)).wait_for()


def read_pixels(canvas: Any, scale: int = 4) -> np.ndarray:
    """Read the pixels of a canvas, RGBA, each of which is a square of canvas pixels; [H, W, 3] if all are opaque."""
    with Image.open(io.BytesIO(base64.b64decode(canvas.evaluate("c => c.toDataURL().split(',')[1]")))) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    small = pixels[::scale, ::scale]
    assert (pixels == enlarge(small, scale)).all()
    return small[..., :3] if (small[..., 3] == 255).all() else small


def differ(found: np.ndarray, wanted: np.ndarray) -> int:
    return int(np.abs(found.astype(int) - wanted.astype(int)).max())


def test_nothing_is_loaded_before_a_button_is_pressed(page: Any, site: str):
    """The page itself asks for the small manifest alone, and for nothing of another host; buttons name megabytes."""
    manifest = read_manifest()
    page.wait_for_load_state("networkidle")

    assert [url for url in page.requests if "/dist/" in url] == [f"{site}dist/manifest.json"]
    host = site.removesuffix("gallery/")
    assert all(url.startswith(host) for url in page.requests)
    runtime = sum(manifest["files"][name]["bytes"] for name in manifest["runtime"]["files"].values())
    files = manifest["entries"]["faces-dcgan"]["files"]
    wanted = runtime + sum(manifest["files"][files[kind]]["bytes"] for kind in ("generator", "latents"))
    button = page.locator('[data-kind="faces"][data-entry="faces-dcgan"] button')
    assert button.inner_text() == f"Make faces with faces-dcgan (load {wanted / 1e6:.1f} MB)"

    start(page, "faces", "faces-dcgan")
    loaded = {url.rpartition("/")[2] for url in page.requests if "/dist/" in url}
    assert loaded == {"manifest.json", "ort.mjs", "ort.wasm.gz", "faces-dcgan.onnx", "faces-dcgan-latents.bin"}
    assert all(url.startswith((host, f"blob:{host}")) for url in page.requests)


@pytest.mark.parametrize("entry", ["faces-dcgan", "faces-stylegan2"])
def test_a_seed_gives_the_face_that_python_gives(page: Any, entry: str):
    """Seed 7, the next one by the keyboard, and a point between two seeds are the library's within one level."""
    model = zoo.load(entry, device="cpu", discriminator=False)
    section = start(page, "faces", entry)
    canvas = section.locator("canvas")

    assert differ(read_pixels(canvas), model.sample(1, seed=7).to_uint8()[0]) <= 1
    assert canvas.get_attribute("aria-label") == f"A face generated by {entry}: seed 7"
    section.get_by_label("Seed", exact=True).focus()
    page.keyboard.press("ArrowRight")
    wait_for_caption(section, "seed 8$")
    assert differ(read_pixels(canvas), model.sample(1, seed=8).to_uint8()[0]) <= 1
    set_slider(section, "Interpolation", 0.5, "50% of the way from seed 8 to 42")
    ends = [model.sample(1, seed=seed).latents for seed in (8, 42)]
    assert differ(read_pixels(canvas), model.generate(slerp(*ends, 0.5)).to_uint8()[0]) <= 1


def test_truncation_and_edits_are_python_s(page: Any):
    """The sliders do what the options `truncation` and `edit` do, and one button takes it all back."""
    model = zoo.load("faces-stylegan2", device="cpu", discriminator=False)
    section = start(page, "faces", "faces-stylegan2")
    canvas, plain = section.locator("canvas"), model.sample(1, seed=7).to_uint8()[0]

    set_slider(section, "Truncation", 0.7, "truncation 0.7")
    truncated = read_pixels(canvas)
    assert differ(truncated, model.sample(1, seed=7, truncation=0.7).to_uint8()[0]) <= 1
    set_slider(section, "smile", -2, "smile \u22122")
    edited = model.sample(1, seed=7, truncation=0.7, edit={"smile": -2.0}).to_uint8()[0]
    assert differ(read_pixels(canvas), edited) <= 1
    assert differ(truncated, plain) > 10 < differ(edited, truncated)
    section.get_by_role("button", name="Reset").click()
    wait_for_caption(section, "seed 7$")
    assert differ(read_pixels(canvas), plain) <= 1


def read_sound(section: Any) -> tuple[int, np.ndarray]:
    """Read the rate and the numbers of a player's sound."""
    script = """async (audio) => {
      const bytes = new Uint8Array(await (await fetch(audio.src)).arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    }"""
    with wave.open(io.BytesIO(base64.b64decode(section.locator("audio").evaluate(script)))) as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)


def test_a_drum_hit_is_python_s(page: Any):
    """Class and seed give the library's sound, up to the rounding of weights, and the picture follows."""
    model = zoo.load("music-wavegan", device="cpu", discriminator=False)
    section = start(page, "drums", "music-wavegan")
    canvas = section.locator("canvas")
    kick = read_pixels(canvas, 1)
    section.get_by_label("Class").select_option(label="snare")
    wait_for_caption(section, "snare, seed 7")

    rate, found = read_sound(section)
    wanted = model.sample(1, seed=7, label="snare").tensor[0, 0].numpy() * 32767
    assert rate == 16_000
    assert np.abs(found - wanted).max() < 40  # about a thousandth of the range
    assert np.abs(wanted).max() > 1000
    assert differ(read_pixels(canvas, 1), kick) > 0


def test_a_chorale_is_python_s(page: Any):
    """A seed gives the library's notes and their sound; another seed another picture."""
    model = zoo.load("music-musegan", device="cpu", discriminator=False)
    section = start(page, "scores", "music-musegan")
    canvas = section.locator("canvas")
    score = model.sample(1, seed=7)
    notes = sum(len(list_notes(track)) for track in score.grids[0])

    wait_for_caption(section, f"seed 7: {notes} notes")
    rate, found = read_sound(section)
    wanted = np.round(score.waves()[0] * 32767)
    assert rate == RATE
    assert len(found) == len(wanted)
    assert np.abs(found - wanted).max() <= 4
    before = read_pixels(canvas, 1)
    set_slider(section, "Seed", 9, "seed 9:")
    assert differ(read_pixels(canvas, 1), before) > 0


def test_a_poem_is_python_s(page: Any):
    """A seed and a temperature give the library's poem, line by line."""
    model = zoo.load("text-seqgan", device="cpu", discriminator=False)
    section = start(page, "poems", "text-seqgan")

    assert section.locator("blockquote").inner_text() == model.sample(1, seed=7).texts[0]
    set_slider(section, "Temperature", 0.5, "temperature 0.5")
    set_slider(section, "Seed", 8, "seed 8")
    assert section.locator("blockquote").inner_text() == model.sample(1, seed=8, temperature=0.5).texts[0]


def test_a_clip_is_python_s(page: Any):
    """Action, seed and frame give the library's frame. For those who want no motion, a clip plays only if asked."""
    model = zoo.load("video-mocogan", device="cpu", discriminator=False)
    section = start(page, "clips", "video-mocogan")
    canvas = section.locator("canvas")
    section.get_by_label("Action").select_option(label="nod")
    wait_for_caption(section, "nod, seed 7")
    wanted = model.sample(1, seed=7, label="nod").to_uint8()[0]

    assert section.get_by_role("button", name="Play").is_visible()
    assert differ(read_pixels(canvas), wanted[0]) <= 1
    section.get_by_label("Frame").fill("9")
    assert differ(read_pixels(canvas), wanted[8]) <= 1
    assert differ(wanted[8], wanted[0]) > 10
    section.get_by_role("button", name="Play").click()
    section.locator("output", has_text="12").first.wait_for()
    section.get_by_role("button", name="Pause").click()


def test_the_visitor_is_scored_beside_the_discriminator(page: Any):
    """After ten answers the truth is shown, and the discriminator's logits are those of the library."""
    model = zoo.load("faces-dcgan", device="cpu")
    section = start(page, "guess", "faces-dcgan")
    button = section.get_by_role("button", name="Show the answers")
    for i in range(10):
        assert button.is_disabled()
        section.get_by_role("group", name=f"Face {i + 1}", exact=True).get_by_label("generated", exact=True).check()
    button.click()

    truths = section.locator(".gallery-truth").all_inner_texts()
    ours = 0
    for i, truth in enumerate(truths):
        if seed := re.search(r"generated, seed (\d+)", truth):
            image = model.sample(1, seed=int(seed[1])).tensor
        else:
            pixels = read_pixels(section.locator("canvas").nth(i))
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            probability = model.discriminator(image).sigmoid().item()
        stated = re.search(r"Ours: (right|wrong), (\d+)% real", truth)
        assert stated is not None
        assert int(stated[2]) == pytest.approx(100 * probability, abs=0.6)
        if abs(probability - 0.5) > 0.001:  # else rounding decides
            assert stated[1] == ("right" if (probability > 0.5) == (seed is None) else "wrong")
        assert f"You: {'right' if seed else 'wrong'}." in truth
        ours += stated[1] == "right"
    made = sum("generated, seed" in truth for truth in truths)
    report = f"You: {made} of 10 right. Our discriminator: {ours} of 10."
    assert section.get_by_text(report, exact=True).is_visible()
    section.get_by_role("button", name="Ten more faces").click()
    section.get_by_role("button", name="Show the answers").wait_for()
    assert section.locator(".gallery-truth").count() == 0


def test_all_buttons_may_be_pressed_at_once(page: Any, site: str):
    """Each section gets what it needs, and no file is fetched twice."""
    buttons = page.locator(".gallery-live > p > button").all()
    for button in buttons:
        button.click(no_wait_after=True)
    page.locator(".gallery-live > p > button").first.wait_for(state="detached")
    page.wait_for_function("document.querySelectorAll('.gallery-live > p > button').length === 0")

    assert page.locator(".gallery-live figure, .gallery-faces").count() == len(buttons) == 7
    fetched = [url for url in page.requests if url.startswith(f"{site}dist/")]
    assert len(fetched) == len(set(fetched)) == len(list(DIST.iterdir()))


def test_a_changed_file_is_not_used(page: Any):
    """A model that was changed on the way is refused in a sentence, and the button can be pressed again."""

    def change(route: Any) -> None:
        body = (DIST / "faces-stylegan2.onnx").read_bytes()
        route.fulfill(body=body[:-1] + bytes([body[-1] ^ 1]))

    page.context.route("**/faces-stylegan2.onnx", change)
    section = page.locator('[data-entry="faces-stylegan2"]')
    section.locator("> p > button").click()
    section.get_by_text("faces-stylegan2.onnx: not the file that this page was built with").wait_for()
    assert section.locator("canvas").count() == 0
    page.context.unroute("**/faces-stylegan2.onnx")
    start(page, "faces", "faces-stylegan2")
    assert section.locator("canvas").is_visible()


def test_without_models_the_page_says_how_to_build_them(page: Any, site: str):
    """Where the gallery was not built, each section says so in a line, and has no button."""
    page.route("**/dist/manifest.json", lambda route: route.fulfill(status=404))
    page.goto(site)
    page.get_by_text("python docs/gallery/build.py and then mkdocs build").first.wait_for()

    assert page.locator(".gallery-live button").count() == 0
