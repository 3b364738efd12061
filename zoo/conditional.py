"""GANs that can be asked for something: ConditionalGAN, and LabelledGAN for data with classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.labels import LABELS, read_labels
from zoo.device import send
from zoo.errors import InvalidFileError, NotFoundError, suggest
from zoo.gan import GAN, Graph, S_co, great_circles
from zoo.noise import Noise
from zoo.options import LabelOptions

if TYPE_CHECKING:
    from zoo.data import Store


class ConditionalGAN(GAN[S_co]):
    """A GAN whose latents [N, Z + C] have two parts: random numbers from `prior`, and the condition that is asked for.

    Without a choice, the conditions alternate in a fixed order.
    """

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Draw the random part of the latents [n, Z]."""
        return noise.normal(n, self.config.latent_dim)

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        """Append to [N, Z] the conditions at these positions [N] of the fixed order, which repeats for ever."""
        raise NotImplementedError

    def latents(self, n: int, noise: Noise) -> Tensor:
        """Draw latents [n, Z + C] whose conditions alternate."""
        return self.add_condition(self.prior(n, noise), torch.arange(n))

    def interpolate_latents(self, n: int, steps: int, noise: Noise) -> Tensor:
        """As `GAN.interpolate_latents`. A row keeps one condition: a mixture of two was never trained."""
        circles = great_circles(self.prior(2 * n, noise), steps)
        return self.add_condition(circles, torch.arange(n).repeat_interleave(steps))

    def route(self, stops: Tensor, frames: int) -> Tensor:
        """As `GAN.route`. All frames have the condition of the first stop."""
        size = self.prior(1, Noise(0)).shape[1]
        return torch.cat([super().route(stops[:, :size], frames), stops[:1, size:].expand(frames, -1)], dim=1)


class LabelledGAN(ConditionalGAN[S_co]):
    """A GAN that can be asked for samples of a class, where its data has classes: `config.labels` of them.

    The last columns of its latents [N, Z + K] are the class, one-hot. The classes alternate in their order.
    """

    SampleOptions = LabelOptions
    ASSETS: ClassVar[tuple[str, ...]] = (LABELS,)
    USES_LABELS = True

    labels: tuple[str, ...] = ()
    """The names of the classes, in the order of the columns."""

    @classmethod
    def config_for(cls, config: Any, data: Store) -> Any:
        return replace(config, labels=len(read_labels(data.folder)))

    def load_assets(self, folder: Path) -> None:
        labels = read_labels(folder)
        if len(labels) != self.config.labels:
            raise InvalidFileError(
                f"{folder}: {LABELS} names {len(labels)} classes, and the model has {self.config.labels}"
            )
        self.labels = labels

    def add_condition(self, prior: Tensor, positions: Tensor) -> Tensor:
        return self.add_labels(prior, positions % max(1, self.config.labels))

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            return self.latents(len(real), noise)
        return self.add_labels(send(self.prior(len(real), noise), labels.device), labels)

    def add_labels(self, prior: Tensor, labels: Tensor) -> Tensor:
        """Append the classes [N] to [N, Z], one-hot -> [N, Z + K]; unchanged where there are no classes."""
        if not self.config.labels:
            return prior
        return torch.cat([prior, F.one_hot(labels, self.config.labels).to(prior)], dim=1)

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        noise = Noise(seed)
        if options.label is None:
            return self.latents(n, noise), {}
        return self.add_labels(self.prior(n, noise), torch.full((n,), self.class_index(options.label))), {}

    def describe_samples(self) -> dict[str, Any]:
        """As `GAN.describe_samples`, with the names of the classes."""
        return {**super().describe_samples(), **({"classes": list(self.labels)} if self.labels else {})}

    def prepare_discriminator_export(self, n: int, seed: int) -> Graph:
        """As `GAN.prepare_discriminator_export`. Where there are classes, they are an input, too: `labels` [N]."""
        graph = super().prepare_discriminator_export(n, seed)
        if not self.config.labels:
            return graph
        return replace(graph, inputs={**graph.inputs, "labels": torch.arange(n) % self.config.labels})

    @property
    def sample_options(self) -> tuple[str, ...]:
        return tuple(name for name in super().sample_options if name != "label" or self.config.labels)

    def class_index(self, label: str) -> int:
        """Return the number of the class called `label`. Raises NotFoundError with the nearest."""
        if not self.labels:
            raise NotFoundError(f'no class "{label}": this model was trained on data without classes')
        if label not in self.labels:
            raise NotFoundError(f'no class "{label}"; there are {", ".join(self.labels)}.{suggest(label, self.labels)}')
        return self.labels.index(label)


class NumberedGAN(LabelledGAN[S_co]):
    """A LabelledGAN whose classes have numbers and no names, as those of published networks of images."""

    ASSETS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.labels = tuple(map(str, range(config.labels)))

    @classmethod
    def config_for(cls, config: Any, data: Store) -> Any:
        return replace(config, labels=0 if data.labels is None else int(data.labels.max()) + 1)

    def load_assets(self, folder: Path) -> None:
        """Read nothing: there are no ASSETS."""
