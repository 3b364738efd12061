from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zoo
from zoo.errors import InvalidFileError, NotFoundError
from zoo.registry import MODALITIES, Registry, fits, read_entry, recipes_dir, registry


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_every_recipe_file_is_an_entry():
    """Each file of the recipe folder is an entry, and there are no others."""
    files = list(recipes_dir().rglob("*.toml"))

    assert len(files) >= 2
    assert {f"{path.parent.name}-{path.stem}" for path in files} <= set(zoo.list_models())


def test_mapping_of_modality_architecture_and_entry():
    """The registry maps modality -> architecture -> path, recipes and weights."""
    dcgan = zoo.registry["faces"]["dcgan"]

    assert dcgan.name == "dcgan"
    assert dcgan.recipes["faces-dcgan"] == recipes_dir() / "faces" / "dcgan.toml"
    assert "faces-dcgan" in dcgan.weights


def test_names_filter_by_modality_and_pattern():
    """Names are filtered by modality, part and shell pattern in any case, and by whether they have weights."""
    assert zoo.list_models("Faces*DCgan*") == zoo.list_models("DCGAN") == ["faces-dcgan"]
    assert all(name.startswith("faces-") for name in zoo.list_models("faces"))
    assert zoo.list_models("nothing") == []
    assert zoo.list_models() == sorted([*zoo.list_models(pretrained=True), *zoo.list_models(pretrained=False)])
    assert "faces-dcgan" in zoo.list_models("faces", pretrained=True)
    assert fits("faces", "me/songs", "gan", "faces")
    assert not fits("faces", "me/faces", "music")


def test_unknown_names_suggest_the_nearest():
    """A misspelt entry or modality names the nearest ones."""
    with pytest.raises(NotFoundError, match='Did you mean "faces-dcgan"'):
        zoo.info("faces-dcgann")
    with pytest.raises(KeyError):
        zoo.registry["sculpture"]


@pytest.mark.parametrize("code", ["import zoo", "import zoo; zoo.list_models(); zoo.info('faces-dcgan')"])
def test_registry_loads_no_torch(code: str):
    """Importing the library and reading the registry load neither torch nor NumPy."""
    heavy = run_python(f"{code}; import sys; print([m for m in ('torch', 'numpy', 'PIL', 'timm') if m in sys.modules])")

    assert heavy == "[]"


def test_zoo_list_imports_nothing_heavy():
    """`zoo list` loads neither torch nor NumPy; benchmarks/startup.py times it."""
    code = (
        "import sys; sys.argv = ['zoo', 'list']\n"
        "from zoo.cli import main\n"
        "main()\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'transformers') if m in sys.modules])"
    )

    assert run_python(code).splitlines()[-1] == "[]"


def test_a_recipe_of_ones_own_is_named_by_its_path(tmp_path: Path):
    """A copied recipe outside the library is an entry under its own file name."""
    mine = tmp_path / "mine.toml"
    mine.write_text((recipes_dir() / "faces" / "dcgan.toml").read_text())

    assert registry.entry(str(mine)).name == "faces-mine"


def test_a_copy_does_not_take_the_place_of_what_it_is_a_copy_of(tmp_path: Path):
    """A copy with the installed recipe's file name is another entry, without weights."""
    installed = recipes_dir() / "faces" / "dcgan.toml"
    copy = tmp_path / "dcgan.toml"
    copy.write_text(installed.read_text())

    assert registry.entry(str(copy)).name == "faces-dcgan-own"
    assert not registry.entry(str(copy)).has_weights
    assert registry.entry(str(installed)) == registry.entries["faces-dcgan"]


def recipe_text(**changes: str) -> str:
    table = {"modality": "faces", "architecture": "dcgan", **changes}
    return "".join(f'{key} = "{value}"\n' for key, value in table.items())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("modality = ", "not a TOML file"),
        (recipe_text(modality="sculpture"), "should be one of"),
        (recipe_text(architecture="zoo.faces.dcgan:DCGAN"), "should be a short name"),
    ],
)
def test_broken_recipes_are_refused_with_their_place(tmp_path: Path, text: str, complaint: str):
    """The error of a file that is no recipe names the file and what is wrong in it."""
    path = tmp_path / "x.toml"
    path.write_text(text)

    with pytest.raises(InvalidFileError, match=complaint) as caught:
        read_entry(path)
    assert str(path) in str(caught.value)


def test_plugin_folders_may_not_claim_a_taken_name(tmp_path: Path):
    """Two folders with the same entry are an error, not a silent override."""
    for root in (tmp_path / "a", tmp_path / "b"):
        (root / "faces").mkdir(parents=True)
        (root / "faces" / "dcgan.toml").write_text(recipe_text())

    with pytest.raises(InvalidFileError, match="exists already"):
        _ = Registry([tmp_path / "a", tmp_path / "b"]).entries


def test_a_recipe_lives_in_its_modality_s_folder(tmp_path: Path):
    """A recipe whose modality differs from its folder is refused."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "dcgan.toml").write_text(recipe_text())

    with pytest.raises(InvalidFileError, match="belongs into"):
        _ = Registry([tmp_path]).entries


def test_packages_add_recipes_by_entry_point(tmp_path: Path):
    """A package that names its recipe folder in the group zoo.recipes adds entries, without being imported."""
    package = tmp_path / "my_zoo"
    (package / "recipes" / "faces").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the registry must not import me')")
    (package / "recipes" / "faces" / "dcgan-plugged.toml").write_text(recipe_text())
    info = tmp_path / "my_zoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo.recipes]\nmine = my_zoo.recipes\n")

    names = run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zoo; print(zoo.list_models('faces'))"
    )

    assert "faces-dcgan-plugged" in names


def test_metadata_of_every_entry_is_complete():
    """Each entry states its summary, paper and license; each recipe file parses and has a known modality."""
    for entry in registry.entries.values():
        assert entry.summary, entry.name
        assert entry.paper.startswith("https://"), entry.name
        assert entry.license, entry.name
        assert entry.modality in MODALITIES
        tomllib.loads(entry.recipe.read_text())
