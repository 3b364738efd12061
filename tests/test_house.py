"""Who may know whom: the plan of the house, enforced on the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import zoo
from zoo.registry import MODALITIES

PACKAGE = Path(zoo.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ALLOWED = {  # room -> rooms its modules may import at the top; functions may import what they alone need
    "errors": set(),
    "registry": {"errors"},
    "noise": set(),
    "nn": {"errors"},
    "disk": {"errors"},
    "samples": {"disk", "errors"},
    "safe": {"errors"},
    "recipe": {"errors", "registry"},
    "metrics": {"errors"},
    "pickles": {"errors"},
    "torch_file": {"errors", "pickles"},
    "render": {"errors"},
    "data": {"disk", "errors", "noise", "recipe", "remote"},
    "gan": {"errors", "nn", "noise", "recipe", "samples"},
    "card": {"gan", "recipe", "samples"},
    "training": {"data", "disk", "errors", "gan", "nn", "noise", "recipe", "registry", "samples"},
    "remote": {"errors"},
    "hub": {"errors", "gan", "recipe", "registry", "safe"},
    "releasing": {"card", "disk", "errors", "gan", "hub", "recipe", "registry", "safe", "samples"},
    "publishing": {"errors", "hub", "registry", "releasing", "remote", "safe"},
    "cost": {"gan", "noise", "recipe", "registry"},
    "bench": {"errors", "gan", "nn", "noise", "recipe", "registry", "training"},
    "evaluation": {"disk", "errors", "hub", "metrics", "recipe", "registry", "safe"},
    "cli": {"errors", "registry"},
    "__main__": {"cli"},
    "": {"registry"},
    **{
        wing: {
            "data",
            "disk",
            "errors",
            "gan",
            "metrics",
            "nn",
            "noise",
            "pickles",
            "recipe",
            "safe",
            "samples",
            "torch_file",
            "training",
        }
        for wing in MODALITIES
    },
}


def room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


def top_level_imports(path: Path) -> set[str]:
    """The rooms that a module imports when it is itself imported; what only a type checker sees does not count."""
    rooms = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoo":
            inner = (node.module or "").split(".")[1:]
            rooms |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zoo.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_know_only_whom_they_may(path: Path):
    """A module imports from its own room and from those that the plan allows, and wings never from each other."""
    assert top_level_imports(path) - {room(path)} <= ALLOWED[room(path)]


def test_published_weights_are_never_unpickled():
    """Only a run's private checkpoints go through torch.load, with weights_only; nothing else unpickles.

    The oracle of the text benchmark and the vocoders of music were published as pickles: one module may know the
    format, but runs it with stand-ins for all names and instructions that it allows one by one, and never by pickle's
    own `load`.
    """
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if path.name != "checkpoint.py":
            assert "torch.load(" not in text, path
            assert "import pickle" not in text or path == PACKAGE / "pickles.py", path
        assert "pickle.load" not in text, path
        assert "allow_pickle=True" not in text, path
    assert "weights_only=True" in (PACKAGE / "training" / "checkpoint.py").read_text(encoding="utf-8")
