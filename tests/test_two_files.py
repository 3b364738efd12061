"""Two files make an architecture: its module and its recipe, and nothing else is touched by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ARCHITECTURE = '''"""A small GAN of linear layers, to test how one is added."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from zoo.data.images import ImageDataConfig
from zoo.gan import GAN
from zoo.recipe import TrainConfig, within
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    resolution: int = field(default=16, metadata=within(4, 64))
    """Pixels a side."""
    latent_dim: int = field(default=8, metadata=within(1, 64))
    """Numbers of a latent."""


class Generator(nn.Module):
    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.shape = (3, config.resolution, config.resolution)
        self.main = nn.Sequential(nn.Linear(config.latent_dim, 3 * config.resolution**2), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        return self.main(latents).unflatten(1, self.shape)


class Discriminator(nn.Module):
    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.main = nn.Linear(3 * config.resolution**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images.flatten(1))[:, 0]


class Tiny(GAN):
    Config = TinyConfig
    DataConfig = ImageDataConfig

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.generator.shape

    def phases(self, train: TrainConfig) -> list[Phase]:
        return adversarial_phases(self, train)
'''

RECIPE = """modality = "faces"
architecture = "tiny"
summary = "A small GAN of linear layers"
paper = "https://arxiv.org/abs/1406.2661"
license = "apache-2.0"

[model]
resolution = 16

[data]
name = "synthetic-faces"

[train]
batch = 4
total_kimg = 0.016

[test]
parameters = { generator = 6912, discriminator = 769 }
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with the two files of one more architecture."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "weights", "dist", "*.webp", "*.png", "*.mp3")
    for folder in ("zoo", "recipes", "tests", "docs", "docs_zh"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    (copy / "zoo" / "weights").symlink_to(ROOT / "zoo" / "weights")
    for file in ("README.md", "README.zh.md", "pyproject.toml"):
        shutil.copyfile(ROOT / file, copy / file)
    (copy / "zoo" / "faces" / "architectures" / "tiny.py").write_text(ARCHITECTURE)
    (copy / "recipes" / "faces" / "tiny.toml").write_text(RECIPE)
    return copy


def run_in(checkout: Path, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'tests'}"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_it_is_listed_and_trained(checkout: Path, photos: Path, tmp_path: Path):
    """`zoo list` has the new entry, and `zoo train` trains it on a folder of photos."""
    assert "faces-tiny" in run_in(checkout, "-m", "zoo", "list").stdout

    run_in(checkout, "-m", "zoo", "train", "faces-tiny", "--data", photos, "--out", tmp_path / "run")

    assert (tmp_path / "run" / "checkpoints" / "step-000000004.pt").is_file()


def test_it_is_under_the_whole_contract(checkout: Path):
    """Every contract test runs for the new entry and passes."""
    options = ("-v", "-k", "[faces-tiny", "-p", "no:cacheprovider", "-n", 0)
    ours = run_in(checkout, "-m", "pytest", "tests/test_contract.py", *options).stdout

    assert ours.count("faces-tiny") == ours.count("::") > 10
    assert f"{ours.count('::')} passed" in ours


def test_one_command_brings_the_documentation_up_to_date(checkout: Path):
    """`docs/update.py --check` fails first; `docs/update.py` adds the entry to README, index, recipe keys and types."""
    assert run_in(checkout, "docs/update.py", "--check", check=False).returncode == 1

    run_in(checkout, "docs/update.py")

    run_in(checkout, "docs/update.py", "--check")
    for page in ("README.md", "docs/index.md", "docs/recipes.md"):
        assert "`faces-tiny`" in (checkout / page).read_text(encoding="utf-8")
    assert "load(name: Literal['faces-tiny']" in (checkout / "zoo" / "__init__.pyi").read_text(encoding="utf-8")
