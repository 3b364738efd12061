"""zoo: a model zoo of generative adversarial networks for faces, text, music and video.

    >>> import zoo
    >>> zoo.load("faces-dcgan").sample(16, seed=0).save("faces.png")

Importing it loads no torch; each function imports what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.registry import Entry, registry

if TYPE_CHECKING:
    from zoo.evaluation import Report
    from zoo.gan import GAN
    from zoo.publishing import Commit
    from zoo.recipe import Recipe
    from zoo.samples import Samples

__version__ = "0.1.0"
__all__ = [
    "evaluate",
    "info",
    "list_models",
    "load",
    "publish",
    "registry",
    "release",
    "sample",
    "train",
]


def list_models(modality: str | None = None, *, match: str = "*") -> list[str]:
    """The names of all entries, or those of one modality, that fit the shell pattern `match`.

    Raises:
        NotFound: no such modality.
    """
    return registry.names(modality, match=match)


def info(name: str) -> Entry:
    """The registry's entry for a name or a recipe's path. Raises NotFound with the nearest names."""
    return registry.entry(name)


def load(name: str | os.PathLike[str]) -> GAN:
    """A trained GAN, generator and discriminator, ready to sample.

    Args:
        name: an entry ("faces-dcgan"), a folder of released weights, a run folder, or a repository of the Hugging Face
            Hub ("org/name", "org/name@revision"), fetched at first use. A full commit sha as revision names the same
            bytes for ever, and needs no network once they are cached.

    Raises:
        NotFound: no such entry or repository, with the nearest names.
        BadFile: weights that are missing, corrupt, of another architecture, or pickled.
        Unreachable: not in the cache, and the Hub gives no (whole) answer.
    """
    from zoo.hub import load as load_weights

    return load_weights(name)


def sample(name: str | os.PathLike[str], n: int = 16, *, seed: int | None = None, batch_size: int = 64) -> Samples:
    """`load(name).sample(n, ...)`."""
    return load(name).sample(n, seed=seed, batch_size=batch_size)


def train(
    recipe: str | os.PathLike[str] | Recipe | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    data: str = "",
    overrides: Iterable[str] = (),
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a recipe from the start, or go on with a run; returns the run folder.

    Args:
        recipe: an entry's name, a recipe file, or a Recipe. With `resume` it may be left out.
        out: the run folder to make.
        resume: the run folder to go on with.
        data: a data set's name, a folder, or `hf:org/set`, instead of the recipe's.
        overrides: `key=value`, e.g. `train.batch=16`.
        workers: processes that build the data set if it is not there yet. More than one needs the usual
            `if __name__ == "__main__":` around a script.

    Raises:
        ZooError: its children say what was wrong and what would have worked.
    """
    from zoo.training.session import train_run

    return train_run(recipe, out=out, resume=resume, data=data, overrides=overrides, workers=workers, say=say)


def evaluate(
    name: str | os.PathLike[str],
    *,
    samples: int | None = None,
    seed: int | None = None,
    features: str | None = None,
    data: str = "",
) -> Report:
    """The figures of an entry, a weights folder or a run, each beside its real-against-real floor.

    Args:
        samples, seed, features: instead of the recipe's; `features` is "zoo:NAME", "timm:NAME" of images,
            "transformers:MODEL" of texts or "i3d:FILE" of clips.
        data: a data set's name, a folder, or `hf:org/set`, instead of the recipe's.

    Returns:
        A report whose `figures` are data and whose `table()` is text. A run keeps it as figures.json.
    """
    from zoo.evaluation import evaluate as evaluate_model

    return evaluate_model(name, samples=samples, seed=seed, features=features, data=data)


def release(run: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> Path:
    """Write a run's weights as they are published: safetensors, config, recipe, card, samples and digests.

    Args:
        out: the folder; zoo/weights/<entry> of this package if None.

    Raises:
        BadFile: no run, or one that `evaluate` has not scored in its present state.
    """
    from zoo.releasing import release as release_run

    return release_run(run, out=out)


def publish(
    name: str | os.PathLike[str],
    *,
    repo: str,
    private: bool = False,
    message: str = "",
    tag: str = "",
    pin: bool = False,
    unmeasured: bool = False,
    dry_run: bool = False,
) -> Commit:
    """Publish weights to the Hugging Face Hub, in one commit of the files that differ; returns the commit.

    Publishing what is there already changes nothing. `HF_TOKEN` or `hf auth login` gives the token.

    Args:
        name: an entry with weights, a folder of released weights, or a run, which is released on the way.
        repo: `owner/name`; made if it is not there.
        private: make a new repository private.
        message: of the commit.
        tag: a tag for the commit.
        pin: write the repository, the commit and the digests into the entry's recipe.
        unmeasured: publish a run that was never evaluated; its card says so.
        dry_run: change nothing; the result says what would change.

    Raises:
        BadFile: no weights, weights that are not what their digests say, a run without figures.
        BadValue: a name that the Hub does not allow.
        CannotWrite: no token, or one that may not write there.
        Unreachable: no answer from the Hub, after some tries; publishing again goes on where it stopped.
    """
    from zoo.publishing import publish as publish_weights

    return publish_weights(
        name, repo=repo, private=private, message=message, tag=tag, pin=pin, unmeasured=unmeasured, dry_run=dry_run
    )
