"""The demo page: what it makes of every entry, what it refuses, and the files of a Space."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zoo.demo import MAX_FRAMES, Demo, Shown, build_page, write_space
from zoo.errors import InvalidValueError, NotFoundError, WriteError
from zoo.registry import registry

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

    from zoo.demo import LAUNCH

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
