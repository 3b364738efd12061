"""class TextGAN: what the text architectures share. A text is a row of token ids [T]."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from zoo.data import Store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.options import TemperatureOptions
from zoo.text.data.datasets import TextDataConfig
from zoo.text.data.vocabulary import END, UNK, Vocabulary
from zoo.text.samples import Texts


class TextGAN(GAN[Texts]):
    """A GAN whose samples are texts. It carries the vocabulary that decodes its tokens."""

    DataConfig = TextDataConfig
    Output = Texts
    ASSETS: ClassVar[tuple[str, ...]] = ("tokenizer.json",)

    vocabulary: Vocabulary | None = None

    @property
    def sample_shape(self) -> tuple[int]:
        return (self.config.length,)

    @classmethod
    def config_for(cls, config: Any, data: Store) -> Any:
        rows = data.samples[data.indices("train")]
        ends = bool((rows == END).any())
        size = len(Vocabulary.open(data.folder / "tokenizer.json"))
        banned = (UNK,) if ends else (END, UNK)
        return replace(config, vocabulary=size, length=rows.shape[1], ends=ends, banned=banned)

    def load_assets(self, folder: Path) -> None:
        vocabulary = Vocabulary.open(folder / "tokenizer.json")
        if len(vocabulary) != self.config.vocabulary:
            raise InvalidFileError(
                f"{folder}: tokenizer.json has {len(vocabulary)} tokens, and the model {self.config.vocabulary}: "
                "it belongs to another vocabulary"
            )
        self.vocabulary = vocabulary

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Texts:
        return Texts(tensor=tensor, latents=latents, seed=seed, vocabulary=self.vocabulary)


class PolicyGAN(TextGAN):
    """A text GAN whose generator is a `Policy`: it writes token by token, so that a temperature can be chosen."""

    SampleOptions = TemperatureOptions

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, self.config.length)

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        return self.latents(n, Noise(seed)), {"temperature": options.temperature}

    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> Texts:
        raise InvalidValueError("there is nothing between two texts: their tokens are sampled one by one")
