"""The entries for torch.hub: `torch.hub.load("gan-zoo/gan-zoo", "faces_dcgan")`. Nothing has to be installed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:  # torch.hub.list shows every name that can be called
    from collections.abc import Callable
    from typing import Any

    from zoo.registry import Entry

dependencies = ["filelock", "numpy", "PIL", "safetensors", "torch", "typing_extensions"]
"""What every entry needs to be loaded. Texts need `tokenizers`, too, and text-gail `transformers`."""


def _make_loader(entry: Entry) -> Callable[..., zoo.GAN]:
    def load(pretrained: bool = True, **options: Any) -> zoo.GAN:
        return zoo.create(entry.name, pretrained=pretrained, **options)

    load.__doc__ = f"{entry.summary}: what `zoo.create` makes of {entry.name}, with its trained weights by default."
    return load


globals().update({name.replace("-", "_"): _make_loader(zoo.info(name)) for name in zoo.list_models()})
