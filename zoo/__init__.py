"""zoo: a model zoo of generative adversarial networks for faces, text, music and video.

    >>> import zoo
    >>> zoo.load("faces-dcgan").sample(16, seed=0).save("faces.png")

Importing it loads no torch: each function is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.registry import info, list_models, registry

if TYPE_CHECKING:
    from zoo.evaluation import evaluate
    from zoo.exporting import export
    from zoo.gan import GAN
    from zoo.releases.exporting import release
    from zoo.releases.loading import create, load, sample
    from zoo.releases.publishing import publish
    from zoo.training.session import train

__version__ = "0.1.0"
__all__ = [
    "GAN",
    "create",
    "evaluate",
    "export",
    "info",
    "list_models",
    "load",
    "publish",
    "registry",
    "release",
    "sample",
    "train",
]

_MODULES = {
    "GAN": "zoo.gan",
    "create": "zoo.releases.loading",
    "evaluate": "zoo.evaluation",
    "export": "zoo.exporting",
    "load": "zoo.releases.loading",
    "publish": "zoo.releases.publishing",
    "release": "zoo.releases.exporting",
    "sample": "zoo.releases.loading",
    "train": "zoo.training.session",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
