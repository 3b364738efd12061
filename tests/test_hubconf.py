"""hubconf.py: the entries as torch.hub finds them, in a checkout and without a network."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import zoo

ROOT = Path(__file__).parents[1]

CODE = """
import sys, torch
def load(name, **options):
    return torch.hub.load(sys.argv[1], name, source="local", **options)
model = load("faces_dcgan")
before = list(sys.modules)
import hubconf, zoo
print(zoo.__file__)
print(sorted(name for name in vars(hubconf) if callable(vars(hubconf)[name]) and not name.startswith("_")))
print(hubconf.faces_dcgan.__doc__)
print(hubconf.dependencies)
print([name for name in ("tokenizers", "transformers", "huggingface_hub", "typer") if name in before])
print(torch.equal(model.sample(2, seed=0).tensor, zoo.load("faces-dcgan").sample(2, seed=0).tensor))
print(load("faces_dcgan", pretrained=False, width=4).config.width)
try:
    load("faces_dcgan", width=4)
except zoo.errors.InvalidValueError as error:
    print(error)
"""


def test_torch_hub_loads_each_entry_by_its_name(tmp_path: Path):
    """With `_` for `-`, trained by default, of the checkout and not of an installed package."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # where torch.hub has imported hubconf.py from
    command = [sys.executable, "-c", CODE, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    file, names, doc, dependencies, also, equal, width, refusal = done.stdout.splitlines()
    assert Path(file) == ROOT / "zoo" / "__init__.py"
    assert ast.literal_eval(names) == [name.replace("-", "_") for name in zoo.list_models()]
    assert "DCGAN" in doc
    assert {"torch", "safetensors"} <= set(ast.literal_eval(dependencies))
    assert (also, equal, width) == ("[]", "True", "4")
    assert "weights have width = 64, not 4" in refusal
