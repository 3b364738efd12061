"""The plan of docs/design.md, enforced on imports: no circles, and no import at a file's top from a room above."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import zoo
from zoo.registry import MODALITIES

PACKAGE = Path(zoo.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = [  # from the ground up: a file may import at its top from its own room and from those above it in this list
    ["errors", "paths"],
    ["registry", "noise", "options"],
    ["recipe"],
    ["io", "nn", "modality", "device"],
    ["samples", "metrics", "render"],
    ["animation"],
    ["data"],
    ["gan"],
    ["conditional", "styled"],
    ["training"],
    list(MODALITIES),  # which never import from each other
    ["releases", "cost"],
    ["convert"],
    ["demo", "evaluation", "steering", "exporting"],
    ["cli"],
    ["__main__", ""],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


def module_name(path: Path) -> str:
    return ".".join(("zoo", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """List the modules of this library that a file imports at its top.

    Imports inside functions, and those for type checkers, do not count.
    """
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoo":
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return found


def test_every_file_is_in_a_room_of_the_plan():
    """A new room has a place in the list."""
    assert {room(path) for path in FILES} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_from_a_room_above(path: Path):
    """A file imports at its top from its own room and from rooms below; modalities never import from each other."""
    for module in imported_modules(path):
        other = room(MODULES[module])
        assert other == room(path) or LEVEL[other] < LEVEL[room(path)], f"{module_name(path)} imports {module}"


def test_there_are_no_circles():
    """No file imports itself by way of others, not even within its own room."""
    imports = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(imports[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in imports:
        visit(name, ())


def test_shared_code_names_no_modality():
    """Only `zoo.modality` imports modalities; no import of other shared code names one."""
    for path in FILES:
        if room(path) in (*MODALITIES, "convert"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            package, _, inside = (module or "").partition(".")
            if package == "zoo" and inside.partition(".")[0] in MODALITIES:
                assert path.parts[-2:] in ALLOWED, f"{path} imports {module}"


ALLOWED = {("cli", "oracle.py")}  # a command of one modality alone


def test_modules_are_imported_by_name_in_three_files():
    """A modality, an architecture and the public face: nothing else is found by a string."""
    by_name = {
        path.relative_to(PACKAGE).as_posix() for path in FILES if "import_module(" in path.read_text(encoding="utf-8")
    }

    assert by_name == {"modality.py", "recipe.py", "__init__.py"}


def test_published_weights_are_never_unpickled():
    """No code runs a pickle of somebody else.

    Checkpoints of one's own are read by `torch.load` with `weights_only=True`. Two more files read pickles. They allow
    instructions one by one, replace all names by stand-ins, and never call pickle's own `load`.
    """
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(PACKAGE).as_posix()
        if name == "training/checkpoint.py":
            calls = re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text)
            assert len(calls) == text.count("torch.load("), path
            assert all("weights_only=True" in call for call in calls), path
        else:
            assert "torch.load(" not in text, path
            assert "import pickle" not in text or name in ("io/pickle_reader.py", "io/snapshot.py"), path
        assert "pickle.load" not in text, path
        assert "allow_pickle=True" not in text, path
