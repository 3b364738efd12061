"""The demo page: what it makes of every entry, what it refuses, and the files of a Space."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from helpers.browser import WAIT, open_browser
from helpers.releases import write_model

from zoo.demo import LAUNCH, MAX_FRAMES, Demo, Shown, build_page, write_space
from zoo.errors import InvalidValueError, NotFoundError, WriteError
from zoo.recipe import load_recipe
from zoo.registry import MODALITIES, registry
from zoo.training.run import Run

ENTRIES = [name for name, entry in registry.entries.items() if entry.has_weights]


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo()


def files(shown: Shown) -> dict[str, str]:
    places = {"picture": shown.picture, "sound": shown.sound, "file": shown.file}
    return {key: Path(place).suffix for key, place in places.items() if place is not None}


EXPECTED = {  # what the page shows, by what a model makes
    "Images": {"picture": ".png", "file": ".png"},
    "Texts": {"file": ".txt"},
    "Scores": {"picture": ".png", "sound": ".wav", "file": ".mid"},
    "Sounds": {"picture": ".png", "sound": ".wav", "file": ".wav"},
    "Clips": {"picture": ".webp", "file": ".webp"},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_shown(name: str, demo: Demo):
    """Each makes a picture, a sound or a text, and a file for the download; the same seed, the same file."""
    shown, again = (demo.generate(name, 1, 3, {"temperature": 1, "truncation": 1, "label": ""}) for _ in range(2))

    assert files(shown) == EXPECTED[demo.model(name).Output.__name__]
    assert (shown.text is None) == (not demo.model(name).Output.READABLE)
    assert f"of {name}, seed 3" in shown.said
    assert Path(shown.file).read_bytes() == Path(again.file).read_bytes()


def test_controls_are_those_that_the_model_has(demo: Demo):
    """Classes, temperatures and lengths are offered where they are understood, and used."""
    assert "kick" in demo.labels("music-wavegan")
    assert demo.labels("faces-dcgan") == []
    assert "label" in demo.options("music-wavegan")
    assert "label" not in demo.options("faces-dcgan")
    assert "truncation" in demo.options("faces-stylegan2")
    assert "3 x 8 x 64 x 64" in demo.generate("video-mocogan", 1, 0, {"frames": 8.0}).said
    cold, hot = (demo.generate("text-mle", 2, 0, {"temperature": t}).text for t in (0.3, 1.5))
    assert cold != hot


@pytest.mark.parametrize(
    ("name", "n", "seed", "options"),
    [
        ("faces-dcgan", 0, 0, {}),
        ("faces-dcgan", 65, 0, {}),
        ("faces-dcgan", 1, -1, {}),
        ("faces-dcgan", 1, 2**40, {}),
        ("video-mocogan", 17, 0, {}),
        ("video-mocogan", 1, 0, {"frames": MAX_FRAMES + 1}),
        ("text-mle", 1, 0, {"temperature": 0}),
    ],
)
def test_numbers_are_limited(name: str, n: int, seed: int, options: dict[str, float], demo: Demo):
    with pytest.raises(InvalidValueError):
        demo.generate(name, n, seed, options)


def test_only_the_names_of_the_page_are_loaded(tmp_path: Path):
    """A path, another entry or a repository is refused, whatever the page sends."""
    demo = Demo(["faces-gan"])
    for name in ("faces-dcgan", str(tmp_path), "../x", "org/name", ""):
        with pytest.raises(NotFoundError, match="not among the models"):
            demo.generate(name, 1, 0, {})


def test_a_plug_in_s_models_are_in_the_tab_of_their_modality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the module of an architecture lies says nothing of the modality of its weights and runs."""
    (tmp_path / "plugged.py").write_text("from zoo.faces.architectures import dcgan\nclass Mine(dcgan.DCGAN): pass\n")
    text = 'modality = "faces"\narchitecture = "plugged"\n[model]\nwidth = 4\n[data]\nname = "synthetic-faces"\n'
    (tmp_path / "plugged.toml").write_text(f"{text}[train]\ntotal_kimg = 1\n")
    plugin = EntryPoint("faces.plugged", "plugged", "zoo.architectures")
    module = sys.modules["zoo.registry"]  # zoo.registry is the object of that name
    monkeypatch.setattr(module, "entry_points", lambda group: [plugin] if group == plugin.group else [])
    monkeypatch.syspath_prepend(tmp_path)
    recipe = load_recipe(str(tmp_path / "plugged.toml"))
    folder, run = write_model(recipe, tmp_path / "weights"), Run.create(recipe, tmp_path / "run").folder

    assert Demo([str(folder), str(run)]).modalities == {str(folder): "faces", str(run): "faces"}


def test_files_of_an_hour_ago_are_deleted():
    demo = Demo(["faces-gan"])
    old = demo.generate("faces-gan", 1, 0, {}).file
    os.utime(Path(old).parent, (time.time() - 4000,) * 2)
    new = demo.generate("faces-gan", 1, 0, {}).file
    assert not Path(old).exists()
    assert Path(new).exists()


def test_the_page_answers_over_http_and_gives_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On loopback: the page has a tab for each modality, and a file outside is forbidden."""
    gradio = pytest.importorskip("gradio")
    import httpx

    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("x")
    page = build_page(Demo(["faces-gan", "text-mle"]))
    assert isinstance(page, gradio.Blocks)
    _, address, _ = page.launch(**LAUNCH, prevent_thread_lock=True)
    try:
        assert address.startswith("http://127.0.0.1:")
        config = httpx.get(f"{address}config").json()
        shown = str(config["components"])
        for text in ("'Faces'", "'Text'", "faces-gan", "text-mle", "Temperature"):
            assert text in shown
        for path in ("/etc/passwd", str(tmp_path / "secret.txt")):
            assert httpx.get(f"{address}gradio_api/file={path}").status_code == 403
    finally:
        page.close()


@pytest.fixture(scope="module")
def address(demo: Demo) -> Iterator[str]:
    """The address of the page of all entries, served on loopback."""
    pytest.importorskip("gradio")
    page = build_page(demo)
    _, address, _ = page.launch(**LAUNCH, prevent_thread_lock=True)
    yield address
    page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


CHOSEN = {"faces": "faces-gan", "text": "text-seqgan", "music": "music-musegan", "video": "video-vgan"}


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_browser_shows_what_the_library_generates(modality: str, demo: Demo, address: str, browser: Any):
    """A visitor chooses a model and presses the button: what appears is the library's, and all of it from this machine.

    Another seed shows something else. Nothing on the page sends it elsewhere.
    """
    name, shown = CHOSEN[modality], dict[int, bytes]()
    assert name != next(each for each, of in demo.modalities.items() if of == modality)  # which is there unchosen
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    elsewhere: list[str] = []

    def stay_here(route: Any) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(address).netloc:
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", stay_here)
    page.goto(address)
    page.get_by_role("tab", name=modality.capitalize()).click()
    tab = page.get_by_role("tabpanel")
    tab.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=name, exact=True).click()
    tab.get_by_label("number input for Samples").fill("2")
    for seed in (3, 4):
        tab.get_by_label("Seed", exact=True).fill(str(seed))
        tab.get_by_role("button", name="Generate").click()
        tab.get_by_text(f"2 of {name}, seed {seed},").wait_for()
        expected = demo.generate(name, 2, seed, {})
        if expected.text is not None:
            text = tab.get_by_role("textbox", name="Samples").input_value()
            assert text == expected.text
            shown[seed] = text.encode()
        if expected.picture is not None:
            picture = tab.get_by_role("img", name="Samples of the model")
            page.wait_for_function("picture => picture.complete && picture.naturalWidth", arg=picture.element_handle())
            shown[seed] = page.request.get(picture.get_attribute("src")).body()
            assert shown[seed] == Path(expected.picture).read_bytes()
        if expected.sound is not None:
            sound = tab.get_by_role("link", name="Download").last.get_attribute("href")
            assert page.request.get(sound).body() == Path(expected.sound).read_bytes()
            tab.get_by_role("button", name="Play", exact=True).click()
            tab.get_by_role("button", name="Pause", exact=True).click()

    assert b"" != shown[3] != shown[4] != b""
    assert tab.get_by_role("button", name="Share").count() == 0
    assert elsewhere == errors == []
    page.close()


def test_a_space_is_three_files_that_run(tmp_path: Path):
    """app.py is Python that names the models; the card configures the Space; nothing is replaced."""
    pytest.importorskip("gradio")
    written = write_space(tmp_path / "space", ["faces-gan", "org/name"])

    assert [path.name for path in written] == ["app.py", "requirements.txt", "README.md"]
    compile((tmp_path / "space" / "app.py").read_text(), "app.py", "exec")
    assert "['faces-gan', 'org/name']" in (tmp_path / "space" / "app.py").read_text()
    card = (tmp_path / "space" / "README.md").read_text()
    assert "sdk: gradio" in card
    assert "models:\n  - org/name\n" in card
    with pytest.raises(WriteError, match="there already"):
        write_space(tmp_path / "space", [])
    with pytest.raises(InvalidValueError, match="entries and repositories"):
        write_space(tmp_path / "other", ["./runs/mine"])
