"""The plan of the house, enforced on the imports: no circles, and no import at a file's top from a room above."""

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
    ["errors"],
    ["registry", "noise", "options"],
    ["recipe"],
    ["io", "nn", "modality"],
    ["samples", "metrics", "render"],
    ["data"],
    ["gan"],
    ["conditional"],
    ["training"],
    list(MODALITIES),  # which never import from each other
    ["convert", "releases", "cost"],
    ["evaluation"],
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
    """The modules of this library that a file imports when it is itself imported.

    What only a type checker sees, and what a function imports, does not count.
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
    """No file imports itself by way of others, in its own room neither."""
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
    """A modality is imported by `zoo.modality` alone: its name stands in no import of shared code."""
    for path in FILES:
        if room(path) in (*MODALITIES, "convert"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            wing = (module or "").split(".")[1:2]
            if wing and wing[0] in MODALITIES:
                assert path.parts[-2:] in ALLOWED, f"{path} imports {module}"


ALLOWED = {("cli", "oracle.py")}  # a command of one modality alone


def test_modules_are_imported_by_name_in_three_files():
    """A modality, an architecture and the public face: nothing else is found by a string."""
    by_name = {
        path.relative_to(PACKAGE).as_posix() for path in FILES if "import_module(" in path.read_text(encoding="utf-8")
    }

    assert by_name == {"modality.py", "recipe.py", "__init__.py"}


def test_published_weights_are_never_unpickled():
    """Nothing runs a pickle of somebody else.

    `torch.load` stands in two files, and always with `weights_only=True`. One more file knows the format of pickles: it
    runs them with stand-ins for all names, by instructions that it allows one by one, and never by pickle's own `load`.
    """
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if path.relative_to(PACKAGE).as_posix() in ("training/checkpoint.py", "io/torch_file.py"):
            calls = re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text)
            assert len(calls) == text.count("torch.load("), path
            assert all("weights_only=True" in call for call in calls), path
        else:
            assert "torch.load(" not in text, path
            assert "import pickle" not in text or path == PACKAGE / "io" / "pickle_reader.py", path
        assert "pickle.load" not in text, path
        assert "allow_pickle=True" not in text, path
