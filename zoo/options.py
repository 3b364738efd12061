"""Sample options: what can be asked of samples besides number and seed. No torch, so the command line starts fast.

An architecture declares its options once, as a dataclass in `GAN.SampleOptions`. `model.sample`, `zoo.sample`, the
flags of `zoo sample`, their help and their refusals all follow from it:

    @dataclass(frozen=True, kw_only=True)
    class TruncationOptions(SampleOptions):
        truncation: float = option(1.0, help="Below 1: more typical samples, and less variety.")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from zoo.errors import InvalidValueError, suggest

MIN_TEMPERATURE = 1e-6  # below, logits divided by the temperature leave the range of float32
MOST_CANDIDATES = 1024
MOST_DEVIATIONS = 1000  # that an edit may move by; beyond, styles say nothing


def option(default: Any = None, *, help: str, flags: tuple[str, ...] = (), absent: str = "") -> Any:
    """Declare a field of `SampleOptions`.

    Args:
        help: the help of its flag.
        flags: further names of its flag, e.g. ("--action",).
        absent: why a model without this option has none, for the refusal: "knows no classes".
    """
    return dataclasses.field(default=default, metadata={"help": help, "flags": flags, "absent": absent})


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of a model that has none."""

    @classmethod
    def read(cls, given: dict[str, Any], model: str) -> Self:
        """Make the options of keyword arguments; None means the default.

        Raises InvalidValueError for an option that `model` does not have, or a value out of range.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in given.keys() - known.keys():
            why = ABSENT.get(name, "")
            there = f"its options are {', '.join(known)}" if known else "it has no sample options"
            raise InvalidValueError(
                f"{model} takes no {name}: " + (f"it {why}; {there}" if why else f"{there}.{suggest(name, known)}")
            )
        return cls(**{name: value for name, value in given.items() if value is not None})

    @classmethod
    def flags(cls) -> dict[str, OptionFlag]:
        """Describe the command-line flag of each option, by the option's name."""
        kinds = {name: _plain_type(hint) for name, hint in get_type_hints(cls).items()}
        return {
            field.name: OptionFlag(
                flags=(f"--{field.name}", *field.metadata["flags"]),
                type=kind,
                help=field.metadata["help"],
            )
            for field in dataclasses.fields(cls)
            if field.metadata and (kind := kinds[field.name]) is not None
        }


@dataclass(frozen=True, kw_only=True)
class OptionFlag:
    """How an option is given on the command line."""

    flags: tuple[str, ...]
    type: type
    help: str


def _plain_type(hint: Any) -> type | None:
    """The type that a flag's text is converted to: `float | None` -> float; None where no text can give it."""
    for kind in get_args(hint) or (hint,):
        if kind in (int, float, str, Path):
            return kind
    return None


@dataclass(frozen=True, kw_only=True)
class TemperatureOptions(SampleOptions):
    """Options of models that write token by token."""

    temperature: float = option(
        1.0,
        help="Of texts: below 1 likelier and less varied, above 1 the opposite.",
        absent="does not write token by token",
    )

    def __post_init__(self) -> None:
        if not MIN_TEMPERATURE <= self.temperature < math.inf:
            raise InvalidValueError(
                f"temperature = {self.temperature} should be finite, and at least {MIN_TEMPERATURE}"
            )


@dataclass(frozen=True, kw_only=True)
class CandidateOptions(SampleOptions):
    """Options of models that make several samples and keep the best one."""

    candidates: int | None = option(
        help="Samples that each one is chosen from as the best; at 1 nothing is chosen.",
        absent="does not choose among samples",
    )

    def __post_init__(self) -> None:
        if self.candidates is not None and not 1 <= self.candidates <= MOST_CANDIDATES:
            raise InvalidValueError(f"candidates = {self.candidates} should be 1 to {MOST_CANDIDATES}")


@dataclass(frozen=True, kw_only=True)
class LabelOptions(SampleOptions):
    """Options of models with classes."""

    label: str | None = option(
        help="The class, or action, of all samples; without it the classes alternate.",
        flags=("--action",),
        absent="knows no classes",
    )


@dataclass(frozen=True, kw_only=True)
class FrameOptions(SampleOptions):
    """Options of models whose clips can be of any length."""

    frames: int | None = option(
        help="Frames of each clip; more than in the training data are possible.", absent="makes samples of one length"
    )

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise InvalidValueError(f"frames = {self.frames} should be at least 1")


@dataclass(frozen=True, kw_only=True)
class InputOptions(SampleOptions):
    """Options of models that start from a file: a vocoder, or a model that accompanies a track."""

    input: Path | str | None = option(
        help="A file to start from: a sound for a vocoder, a .mid for a model that accompanies.",
        absent="makes samples from latents, not from a file",
    )


@dataclass(frozen=True, kw_only=True)
class StyleOptions(SampleOptions):
    """Options of models with styles."""

    truncation: float = option(
        1.0, help="Of styles: below 1, more typical samples and less variety.", absent="has no styles"
    )
    cutoff: int | None = option(
        help="How many styles are truncated, the coarsest first; all if absent.", absent="has no styles"
    )
    edit: Mapping[str, float] | None = option(
        help="How far samples move along named directions, in standard deviations.", absent="has no styles"
    )

    def __post_init__(self) -> None:
        check_amounts(self.edit or {})
        if not math.isfinite(self.truncation):
            raise InvalidValueError(f"truncation = {self.truncation} should be finite")
        if self.cutoff is not None and self.cutoff < 0:
            raise InvalidValueError(f"cutoff = {self.cutoff} should be at least 0")


def check_amounts(amounts: Mapping[str, float]) -> None:
    """Raise InvalidValueError for amounts of an edit that are no dictionary of numbers, or too far."""
    if not isinstance(amounts, Mapping):
        raise InvalidValueError(f"edit = {amounts!r} should be a dictionary: names of directions, and amounts")
    for name, amount in amounts.items():
        if not isinstance(amount, int | float) or not abs(amount) <= MOST_DEVIATIONS:
            raise InvalidValueError(
                f"edit {name} = {amount!r} should be a number from -{MOST_DEVIATIONS} to {MOST_DEVIATIONS}: amounts "
                "are standard deviations, and 2 is much already"
            )


COMMON = (TemperatureOptions, CandidateOptions, LabelOptions, FrameOptions, InputOptions, StyleOptions)
ABSENT = {field.name: field.metadata["absent"] for cls in COMMON for field in dataclasses.fields(cls)}
