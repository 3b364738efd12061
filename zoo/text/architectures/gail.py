"""TextGAIL. Wu, Li & Yu 2021, "TextGAIL: Generative Adversarial Imitation Learning for Text Generation",
arXiv:2004.13796 (AAAI 2021).

After maximum likelihood, a language model is trained by imitation (GAIL, Ho & Ermon 2016, arXiv:1606.03476). Real texts
are the demonstrations. A discriminator learns to classify texts as real or generated, and its output is the reward of
the language model. Generator and discriminator are transformers.

The discriminator is contrastive: it scores a real and a generated text, and the softmax over the two scores is the
probability that each is the real one. Its loss is -log softmax(real). So it compares two texts, and need not decide
whether one text is credible by itself. The reward of a generated text is the probability that the discriminator chooses
it over its real text.

The generator is trained by PPO (Schulman et al. 2017, arXiv:1707.06347, equation 7), where a whole text is one action.
The ratio of the text's probability now to that at its sampling is clipped to 1 - epsilon .. 1 + epsilon. A buffer of
texts is sampled, and then used in mini-batches, `epochs` times. The buffer contains real texts, too. Their share falls
from `demonstrations` to 0 over the adversarial training. Rewards of generated texts are normalized over the buffer, to
mean 0 and variance 1. The reward of the demonstrations is a constant in these units, 2.0, which does not depend on the
discriminator.

The discriminator is trained alone for a while, after the generator's maximum likelihood and before the adversarial
training. The buffer of a step has the size of its real batch. In the paper the generator is GPT-2 small and the
discriminator RoBERTa-base, both pre-trained. Here the generator may start from weights of `transformers`
(`train.start = "transformers:gpt2"`). The discriminator is BERT's encoder, which RoBERTa has too, with random weights.

V = vocabulary, T = length, H = width, B = texts of the buffer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DynamicCache,
    GPT2Model,
)
from transformers import PreTrainedConfig as TransformerConfig

from zoo.data import Store
from zoo.device import send
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.noise import seed_torch
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.data.datasets import open_vocabulary
from zoo.text.data.vocabulary import END, END_TOKEN, UNK_TOKEN, Vocabulary
from zoo.text.gan import PolicyGAN
from zoo.text.policies import Policy, eval_mode, fill_after_end, likelihood_phase, token_mask
from zoo.training import distributed
from zoo.training.phases import Phase, Step, make_optimizer

FAMILIES = ("gpt2", "gpt_neox", "llama")
CACHE = "cache" if "cache" in inspect.signature(GPT2Model.forward).parameters else "past_key_values"  # before 5.24
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class GAILConfig(TextConfig):
    """Sizes of both networks. The defaults are GPT-2 small and BERT-base; a start from a checkpoint sets its sizes."""

    family: Literal["gpt2", "gpt_neox", "llama"] = "gpt2"
    """What `transformers` calls the generator's model type."""
    num_layers: int = field(default=12, metadata=within(1, 128))
    """Blocks of the generator."""
    num_heads: int = field(default=12, metadata=within(1, 128))
    """Attention heads of the generator."""
    width: int = field(default=768, metadata=within(2, 16384))
    """Size of the generator's hidden states, H."""
    inner_width: int = field(default=0, metadata=within(0, 65536))
    """Size of the layer inside each block of the generator. 0: four times the width."""
    positions: int = field(default=0, metadata=within(0, 131072))
    """The most tokens that the generator can read. 0: T."""
    tied: bool = True
    """Whether the generator's input embedding is its output embedding, too."""
    dropout: float = field(default=0.1, metadata=within(0, 0.9))
    """Dropout of the generator."""
    discriminator_layers: int = field(default=12, metadata=within(1, 128))
    """Blocks of the discriminator."""
    discriminator_heads: int = field(default=12, metadata=within(1, 128))
    """Attention heads of the discriminator."""
    discriminator_width: int = field(default=768, metadata=within(2, 16384))
    """Size of the discriminator's hidden states."""
    discriminator_dropout: float = field(default=0.1, metadata=within(0, 0.9))
    """Dropout of the discriminator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for heads, width in (("num_heads", "width"), ("discriminator_heads", "discriminator_width")):
            if getattr(self, width) % getattr(self, heads):
                raise InvalidValueError(
                    f"model.{width} = {getattr(self, width)} should be a multiple of "
                    f"model.{heads} = {getattr(self, heads)}"
                )
        if 0 < self.positions < self.length:
            raise InvalidValueError(
                f"model.positions = {self.positions}: the generator reads fewer tokens than texts have, "
                f"model.length = {self.length}"
            )

    def transformer(self) -> TransformerConfig:
        """Return the generator's config for `transformers`."""
        inner, drop = self.inner_width or 4 * self.width, self.dropout
        own: dict[str, dict[str, Any]] = {
            "gpt2": {"n_inner": inner, "resid_pdrop": drop, "embd_pdrop": drop, "attn_pdrop": drop},
            "gpt_neox": {"intermediate_size": inner, "hidden_dropout": drop, "attention_dropout": drop},
            "llama": {"intermediate_size": inner, "attention_dropout": drop},
        }
        return AutoConfig.for_model(
            self.family,
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            max_position_embeddings=self.positions or self.length,
            bos_token_id=END,
            eos_token_id=END,
            pad_token_id=None,
            **own[self.family],
        )


@dataclass(frozen=True, kw_only=True)
class GAILTrainConfig(TrainConfig):
    """`TrainConfig` with pre-training and PPO."""

    batch: int = field(default=128, metadata=within(2, 65536))
    """Real samples a step, over all processes together; the buffer has this size, too."""
    loss: Literal["relativistic"] = "relativistic"
    """The loss compares a real and a generated text; there is no other."""
    generator: OptimizerConfig = OptimizerConfig(lr=1e-5, betas=(0.9, 0.999))
    """Optimizer of PPO."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-5, betas=(0.9, 0.999))
    """Optimizer of the discriminator."""
    pretrain: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999))
    """Optimizer of the maximum-likelihood training."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the generator is trained by maximum likelihood."""
    discriminator_kimg: float = field(default=0.0, metadata=within(0))
    """For this long after that, the discriminator is trained alone."""
    mini_batch: int = field(default=8, metadata=within(1, 65536))
    """Texts of one optimizer step, over all processes together. A step of the training has several of them."""
    epochs: int = field(default=1, metadata=within(1, 64))
    """How often the generator is trained on each text of the buffer."""
    clip: float = field(default=0.1, metadata=within(above=0))
    """The most that a text's ratio may differ from 1, epsilon."""
    demonstrations: float = field(default=0.3, metadata=within(0, 1))
    """Share of real texts in the buffer when the adversarial training starts; it falls linearly to 0."""
    demonstration_reward: float = field(default=2.0, metadata=within(0))
    """Reward of real texts, in standard deviations of the generated texts' rewards above their mean."""

    def __post_init__(self) -> None:
        check_unused(self, "text-gail", "r1_gamma", "gradient_penalty", "augment")
        if self.cuda_graphs:
            raise InvalidValueError(
                "train.cuda_graphs = true: the steps of text-gail cannot be recorded, because its phases share texts "
                "that are made once a step; leave it out"
            )

    @property
    def adversarial_start_kimg(self) -> float:
        """When the adversarial training starts."""
        return self.pretrain_kimg + self.discriminator_kimg

    @property
    def schedule_start_kimg(self) -> float:
        return min(super().schedule_start_kimg, self.adversarial_start_kimg if self.demonstrations else math.inf)


class LanguageModel(Policy):
    """A causal transformer. Latents, uniform in [0, 1) [N, T] -> tokens [N, T]; the start token is `<end>`."""

    config: GAILConfig

    def __init__(self, config: GAILConfig) -> None:
        super().__init__(config)
        self.trunk = AutoModel.from_config(config.transformer())
        self.head = None if config.tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def next_logits(self, states: Tensor) -> Tensor:
        """Compute logits [..., V] of the tokens after states [..., H]."""
        weight = self.trunk.get_input_embeddings().weight if self.head is None else self.head.weight
        return F.linear(states, weight)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        n, length = uniforms.shape
        tokens = torch.empty(n, length, dtype=torch.long, device=uniforms.device)
        last, cache = tokens.new_full((n, 1), END), DynamicCache(config=self.trunk.config)
        for t in range(length):
            state = self.trunk(last, use_cache=True, **{CACHE: cache}).last_hidden_state[:, 0]
            tokens[:, t] = self.sample_token(self.next_logits(state), uniforms[:, t], temperature)
            last = tokens[:, t : t + 1]
        return fill_after_end(tokens) if self.config.ends else tokens

    def logits(self, tokens: Tensor) -> Tensor:
        before = F.pad(tokens[:, :-1], (1, 0), value=END)
        return self.next_logits(self.trunk(before, use_cache=False).last_hidden_state)


class Discriminator(nn.Module):
    """Tokens [N, T] -> scores [N]. Only their differences have a meaning: of two texts the higher is the real one."""

    def __init__(self, config: GAILConfig) -> None:
        super().__init__()
        self.config = config
        encoder = BertConfig(
            vocab_size=config.vocabulary + 1,
            hidden_size=config.discriminator_width,
            num_hidden_layers=config.discriminator_layers,
            num_attention_heads=config.discriminator_heads,
            intermediate_size=4 * config.discriminator_width,
            max_position_embeddings=config.length + 1,
            hidden_dropout_prob=config.discriminator_dropout,
            attention_probs_dropout_prob=config.discriminator_dropout,
            type_vocab_size=1,
            pad_token_id=None,
        )
        self.encoder = BertModel(encoder, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.discriminator_dropout)
        self.output = nn.Linear(config.discriminator_width, 1, bias=False)  # a bias would cancel in every pair

    def forward(self, tokens: Tensor) -> Tensor:
        tokens_and_class = F.pad(tokens, (1, 0), value=self.config.vocabulary)  # the class token comes first
        mask = F.pad(token_mask(tokens, self.config), (1, 0), value=1.0)
        states = self.encoder(input_ids=tokens_and_class, attention_mask=mask).last_hidden_state  # [N, 1 + T, H]
        return self.output(self.dropout(states[:, 0])).squeeze(1)


def contrast_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Compute -log softmax(real) over each pair of scores [N] and [N], averaged over pairs."""
    return -torch.stack([real, fake]).log_softmax(0)[0].mean()


def choice_probability(real: Tensor, fake: Tensor) -> Tensor:
    """Compute the reward of generated texts: the probability [N] that each is chosen over its real text."""
    return torch.stack([real, fake]).softmax(0)[1]


def advantages(rewards: Tensor, num_demonstrations: int, demonstration_reward: float) -> Tensor:
    """Compute the advantages of a buffer [B] whose first texts are demonstrations.

    Rewards of generated texts are normalized to mean 0 and variance 1.
    """
    own = rewards[num_demonstrations:]
    normal = (own - own.mean()) / (own.std(correction=0) + 1e-8) if len(own) else own
    return torch.cat([rewards.new_full((num_demonstrations,), demonstration_reward), normal])


def ppo_loss(now: Tensor, before: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Compute the negative clipped surrogate objective (equation 7 of PPO) from log-probabilities of texts [N]."""
    ratio = (now - before).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


class Buffer(NamedTuple):
    """Texts [B, T] in random order, their log-probabilities when they were sampled [B], and their advantages [B]."""

    tokens: Tensor
    log_probabilities: Tensor
    advantage: Tensor
    reward: Tensor
    """The mean reward of the generated texts, not normalized."""


class TextGAIL(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]."""

    Config = GAILConfig
    TrainConfig = GAILTrainConfig

    generator: LanguageModel
    discriminator: Discriminator

    def __init__(self, config: GAILConfig) -> None:
        super().__init__(config)
        self.generator = LanguageModel(config)
        self.discriminator = Discriminator(config)

    def phases(self, train: GAILTrainConfig) -> list[Phase]:
        generator, discriminator = self.generator, self.discriminator
        discriminator_start = train.pretrain_kimg
        adversarial_start = discriminator_start + train.discriminator_kimg
        generate = _compute_once_a_step(self._generate_texts)
        collect = _compute_once_a_step(
            lambda step: self._fill_buffer(step, generate(step), demonstration_share(step.kimg, train), train)
        )
        num_parts = math.ceil(train.batch / train.mini_batch)
        if num_parts > (rows := train.batch // distributed.world_size()):
            raise InvalidValueError(
                f"train.mini_batch = {train.mini_batch} makes {num_parts} parts of a batch, and each process has "
                f"{rows} of its texts: at least {math.ceil(train.batch / rows)} is needed"
            )
        discriminator_optimizer = make_optimizer(discriminator, train.discriminator)
        optimizer = make_optimizer(generator, train.generator)

        def discriminator_loss(step: Step, part: int) -> dict[str, Tensor]:
            pair = torch.cat([_select_part(texts, part, num_parts) for texts in (step.real, generate(step))])
            real, fake = discriminator(pair).chunk(2)
            return {"loss": contrast_loss(real, fake), "real": real, "fake": fake}

        def generator_loss(step: Step, part: int) -> dict[str, Tensor]:
            buffer = collect(step)
            tokens, before, advantage = (
                _select_part(rows, part, num_parts)
                for rows in (buffer.tokens, buffer.log_probabilities, buffer.advantage)
            )
            with eval_mode(generator):
                now = self._log_probability(tokens)
            return {"loss": ppo_loss(now, before, advantage, train.clip), "reward": buffer.reward}

        return [
            likelihood_phase(generator, train.pretrain, end_kimg=discriminator_start),
            *(
                Phase(
                    name="D",
                    module=discriminator,
                    loss=partial(discriminator_loss, part=part),
                    optimizer=discriminator_optimizer,
                    start_kimg=discriminator_start,
                    max_grad_norm=1.0,
                )
                for part in range(num_parts)
            ),
            *(
                Phase(
                    name="G",
                    module=generator,
                    loss=partial(generator_loss, part=part),
                    optimizer=optimizer,
                    interval=train.generator_interval,
                    start_kimg=adversarial_start,
                    max_grad_norm=1.0,
                )
                for _ in range(train.epochs)
                for part in range(num_parts)
            ),
        ]

    def _log_probability(self, tokens: Tensor) -> Tensor:
        """Compute the log-probability [N] of texts [N, T]."""
        return (self.generator.log_probabilities(tokens) * token_mask(tokens, self.config)).sum(1)

    @torch.no_grad()
    def _generate_texts(self, step: Step) -> Tensor:
        with eval_mode(self.generator):
            return self.generator(step.latents())

    @torch.no_grad()
    def _fill_buffer(self, step: Step, fake: Tensor, share: float, train: GAILTrainConfig) -> Buffer:
        """Fill a share of the buffer with the step's real texts, and the rest with generated ones."""
        num = round(share * len(fake))
        with eval_mode(self.discriminator):
            rewards = choice_probability(self.discriminator(step.real), self.discriminator(fake))
        tokens = torch.cat([step.real[:num], fake[num:]])
        with eval_mode(self.generator):
            log_probabilities = self._log_probability(tokens)
        advantage = advantages(rewards, num, train.demonstration_reward)
        order = send(step.noise.uniform(len(tokens)).argsort(), tokens.device)
        return Buffer(tokens[order], log_probabilities[order], advantage[order], rewards.mean())

    @classmethod
    def from_language_model(cls, config: GAILConfig, start: str, data: Store, *, seed: int) -> Self:
        """Build the networks with the generator's weights from `start`, "transformers:<Hub id or folder>".

        The generator has the sizes of the checkpoint. Each token of the data's vocabulary has the embedding of the
        token with the same name in the checkpoint's tokenizer. Weights are safetensors, and no code of the checkpoint
        is run.

        Raises:
            InvalidFileError: no such checkpoint, or one without safetensors or tokenizer.
            InvalidValueError: another kind of model, another tokenizer, or texts longer than it reads.
        """
        kind, _, name = start.partition(":")
        if kind != "transformers" or not name:
            return super().from_language_model(config, start, data, seed=seed)
        theirs, tokenizer = _load_checkpoint(name)
        config = replace(config, **_read_sizes(theirs.config, name, config.length))
        rows = _find_rows(open_vocabulary(data), tokenizer, name, theirs.get_input_embeddings().num_embeddings)
        with seed_torch(seed):
            gan = cls(config)
        _copy_weights(gan.generator, theirs, rows, name)
        return gan


def demonstration_share(kimg: float, train: GAILTrainConfig) -> float:
    """Compute the share of demonstrations in the buffer.

    It falls from `train.demonstrations` to 0 over the adversarial training.
    """
    progress = (kimg - train.adversarial_start_kimg) / max(train.total_kimg - train.adversarial_start_kimg, 1e-9)
    return train.demonstrations * (1 - min(max(progress, 0.0), 1.0))


def _select_part(rows: Tensor, part: int, num_parts: int) -> Tensor:
    """Select a mini-batch of rows [B, ...]."""
    return rows.tensor_split(num_parts)[part]


def _compute_once_a_step(make: Callable[[Step], T]) -> Callable[[Step], T]:
    """Cache the result of `make` for one step: the mini-batches of a step share it."""
    last: list[tuple[Step, T]] = []

    def compute(step: Step) -> T:
        if not last or last[0][0] is not step:
            last[:] = [(step, make(step))]
        return last[0][1]

    return compute


def _load_checkpoint(name: str) -> tuple[Any, Any]:
    """Load a causal language model of `transformers` by Hub id or folder, and its tokenizer.

    Raises InvalidFileError, and InvalidValueError for a model of another type.
    """
    folder = Path(name).expanduser()
    where = str(folder) if folder.is_dir() else name
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": folder.is_dir()}
    try:
        config = AutoConfig.from_pretrained(where, **options)
        if config.model_type not in FAMILIES:
            raise InvalidValueError(
                f'"{name}" is a model of type {config.model_type}; text-gail knows {", ".join(FAMILIES)}'
            )
        model = AutoModelForCausalLM.from_pretrained(
            where, config=config, use_safetensors=True, dtype=torch.float32, attn_implementation="sdpa", **options
        )
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    except InvalidValueError:
        raise
    except Exception as error:  # its loaders raise anything
        why = str(error).strip().partition("\n")[0]
        raise InvalidFileError(
            f'the transformers checkpoint "{name}" could not be loaded: {why} It takes the Hub id or the folder of a '
            "causal language model, with safetensors and its tokenizer."
        ) from error
    return model.eval().requires_grad_(False), tokenizer


def _read_sizes(theirs: TransformerConfig, name: str, length: int) -> dict[str, Any]:
    """Read the values of `GAILConfig` from a checkpoint. Raises InvalidValueError where it reads too few tokens."""
    if theirs.max_position_embeddings < length:
        raise InvalidValueError(
            f'"{name}" reads {theirs.max_position_embeddings} tokens and the texts have {length}: '
            f"set model.length={theirs.max_position_embeddings} or less"
        )
    inner = theirs.n_inner if theirs.model_type == "gpt2" else theirs.intermediate_size
    return {
        "family": theirs.model_type,
        "num_layers": theirs.num_hidden_layers,
        "num_heads": theirs.num_attention_heads,
        "width": theirs.hidden_size,
        "inner_width": inner or 0,
        "positions": theirs.max_position_embeddings,
        "tied": theirs.tie_word_embeddings,
    }


def _find_rows(vocabulary: Vocabulary, tokenizer: Any, name: str, num_rows: int) -> Tensor:
    """Find the row [V] of each token of a vocabulary in the embedding of a checkpoint.

    `<end>` is the tokenizer's end (or separator). Where the tokenizer has no unknown token, `<unk>` takes the row of
    `<end>`: no text of such a tokenizer contains it, and it is never sampled.

    Raises InvalidValueError where a token has no row.
    """
    ids = tokenizer.get_vocab()
    end = tokenizer.eos_token or tokenizer.sep_token
    if end is None:
        raise InvalidValueError(f'the tokenizer of "{name}" has neither an end token (eos) nor a separator (sep)')
    own = {END_TOKEN: end, UNK_TOKEN: tokenizer.unk_token or end}
    rows = [ids.get(own.get(token, token), num_rows) for token in vocabulary.tokens]
    missing = [token for token, row in zip(vocabulary.tokens, rows, strict=True) if row >= num_rows]
    if missing:
        some = ", ".join(map(repr, missing[:5]))
        raise InvalidValueError(
            f'{len(missing):,} of the {len(vocabulary):,} tokens of the data are none of "{name}", e.g. {some}: '
            f"the texts have another tokenizer; build them with its own, data.tokenizer={name}"
        )
    return torch.tensor(rows)


@torch.no_grad()
def _copy_weights(policy: LanguageModel, theirs: Any, rows: Tensor, name: str) -> None:
    """Copy the weights of a checkpoint into `policy`, with the given rows [V] of its embeddings.

    Sizes are not all of a config, so the logits of both are compared. Raises InvalidValueError where they differ.
    """
    ids = rows[torch.arange(2 * policy.config.length).view(2, -1) % len(rows)]
    before = F.pad(ids[:, :-1], (1, 0), value=int(rows[END]))
    expected = theirs(before, use_cache=False).logits[..., rows]
    embedding, head = theirs.get_input_embeddings().weight[rows], theirs.get_output_embeddings().weight[rows]
    theirs.set_input_embeddings(nn.Embedding.from_pretrained(embedding))
    differs = InvalidValueError(
        f'"{name}" is not the {policy.config.family} that its sizes give: it has parts or values of its own, '
        "which text-gail cannot keep"
    )
    try:
        policy.trunk.load_state_dict(theirs.base_model.state_dict())
    except RuntimeError as error:
        raise differs from error
    if policy.head is not None:
        policy.head.weight.copy_(head)
    with eval_mode(policy):
        found = policy.logits(torch.arange(2 * policy.config.length).view(2, -1) % len(rows))
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise differs
