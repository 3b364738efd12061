"""The config that all text architectures extend."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.errors import InvalidValueError, shorten_repr
from zoo.recipe import within


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Sizes that come from the data. A training sets all four from its data, whatever the recipe says."""

    vocabulary: int = field(default=5000, metadata=within(2, 65536))
    """Tokens that the model knows, V."""
    length: int = field(default=20, metadata=within(1, 1024))
    """Tokens of a text, T."""
    ends: bool = False
    """Whether a text may end before T: its last token is then 0, and so are all after it."""
    banned: tuple[int, ...] = field(default=(), metadata=within(0, 65535))
    """Tokens that are never sampled. Each is below V, and at least one other token is left."""

    def __post_init__(self) -> None:
        if any(token >= self.vocabulary for token in self.banned) or len(set(self.banned)) >= self.vocabulary:
            raise InvalidValueError(
                f"model.banned = {shorten_repr(list(self.banned))} should name tokens below model.vocabulary = "
                f"{self.vocabulary}, and not all of them"
            )

    def banned_logits(self) -> Tensor:
        """Return what is added to logits [V]: minus infinity for banned tokens, 0 for all others."""
        banned = torch.zeros(self.vocabulary)
        banned[list(self.banned)] = -torch.inf
        return banned
