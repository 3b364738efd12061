"""TextGAIL: its losses against the papers' equations, sampling by its transformers, and starts from checkpoints."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.lines import ALPHABET, Lines
from helpers.releases import METRICS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

import zoo
from zoo.data import build_store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.noise import Noise
from zoo.releases.card import without_place
from zoo.releases.exporting import release
from zoo.text.architectures.gail import (
    GAILConfig,
    GAILTrainConfig,
    LanguageModel,
    TextGAIL,
    advantages,
    choice_probability,
    contrast_loss,
    demonstration_share,
    ppo_loss,
)
from zoo.text.data.vocabulary import Vocabulary
from zoo.training import distributed
from zoo.training.phases import Step, trainable
from zoo.training.run import Run

FAMILIES = ("gpt2", "gpt_neox", "llama")
SMALL = {
    "num_layers": 2,
    "num_heads": 2,
    "width": 8,
    "discriminator_layers": 1,
    "discriminator_heads": 2,
    "discriminator_width": 8,
}
CONFIG = GAILConfig(vocabulary=12, length=6, banned=(0, 1), **SMALL)


def gail(config: GAILConfig = CONFIG) -> TextGAIL:
    torch.manual_seed(0)
    return TextGAIL(config).eval().requires_grad_(False)


def spread(policy: LanguageModel) -> LanguageModel:
    """The policy with weights as if trained: far from uniform."""
    for name, parameter in policy.named_parameters():
        if "norm" not in name and "ln_" not in name:
            parameter.mul_(8)
    return policy


def step_of(gan: TextGAIL, n: int = 8, kimg: float = 0.0) -> Step:
    real = torch.randint(2, 12, (n, 6), generator=torch.Generator().manual_seed(1))
    return Step(gan, real, Noise(0), train_generator=True, kimg=kimg)


def test_the_defaults_are_gpt2_small_and_bert_base():
    """At GPT-2's vocabulary and 1,024 positions the generator has GPT-2 small's 124,439,808 parameters."""
    config = GAILConfig(vocabulary=50257, length=1024)
    with torch.device("meta"):
        generator = LanguageModel(config)

    assert sum(p.numel() for p in generator.parameters()) == 124_439_808
    assert (config.discriminator_layers, config.discriminator_heads, config.discriminator_width) == (12, 12, 768)


def test_the_discriminator_picks_the_real_text_of_a_pair():
    """Its loss is -log softmax(real) over the two scores; a generated text's reward is the softmax's other side."""
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    probabilities = [
        math.exp(r) / (math.exp(r) + math.exp(f)) for r, f in zip(real.tolist(), fake.tolist(), strict=True)
    ]

    assert contrast_loss(real, fake).item() == pytest.approx(-sum(map(math.log, probabilities)) / 2)
    assert choice_probability(real, fake).tolist() == pytest.approx([1 - p for p in probabilities])


def test_the_clipped_objective_is_ppo_s():
    """min(r A, clip(r) A): what pays is not followed beyond 1 + epsilon, what costs not below 1 - epsilon."""
    ratios = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.05])
    gains = torch.tensor([2.0, 2.0, -2.0, -2.0, 1.0])
    expected = [1.1 * 2, 0.5 * 2, 1.5 * -2, 0.9 * -2, 1.05]
    now = ratios.log().requires_grad_()

    loss = ppo_loss(now, torch.zeros(5), gains, 0.1)
    loss.backward()

    assert loss.item() == pytest.approx(-sum(expected) / 5)
    assert (now.grad == 0).tolist() == [True, False, False, True, False]


def test_rewards_of_generated_texts_are_normalized_and_those_of_demonstrations_constant():
    """Mean 0 and variance 1 over the generated texts of the buffer; 2.0 for each demonstration before them."""
    advantage = advantages(torch.tensor([0.9, 0.1, 0.2, 0.4, 0.9]), 2, 2.0)

    assert advantage[:2].tolist() == [2.0, 2.0]
    assert advantage[2:].mean().item() == pytest.approx(0, abs=1e-6)
    assert advantage[2:].var(correction=0).item() == pytest.approx(1, rel=1e-5)
    assert advantages(torch.full((3,), 0.5), 0, 2.0).tolist() == [0, 0, 0]
    assert advantages(torch.full((2,), 0.5), 2, 2.0).tolist() == [2, 2]


def test_the_share_of_demonstrations_falls_to_nothing():
    """0.3 when the adversarial training starts, half of it half-way, 0 at its end."""
    train = GAILTrainConfig(pretrain_kimg=10, discriminator_kimg=2, total_kimg=20)

    assert [demonstration_share(kimg, train) for kimg in (12, 16, 20)] == pytest.approx([0.3, 0.15, 0])


def test_the_buffer_mixes_demonstrations_with_generated_texts():
    """As many rows as the share says are the step's real texts at 2.0; each keeps its own probability."""
    gan = gail()
    step = step_of(gan, n=10)
    fake = gan._generate_texts(step)
    buffer = gan._fill_buffer(step, fake, 0.3, GAILTrainConfig())

    is_real = buffer.advantage == 2.0
    assert sorted(buffer.tokens[is_real].tolist()) == sorted(step.real[:3].tolist())
    assert sorted(buffer.tokens[~is_real].tolist()) == sorted(fake[3:].tolist())
    expected = gan.generator.log_probabilities(buffer.tokens).sum(1)
    torch.testing.assert_close(buffer.log_probabilities, expected)


def test_phases_are_pre_training_then_the_discriminator_alone_then_both():
    """A network has a phase for each mini-batch, the generator one for each epoch; none runs before its time."""
    train = GAILTrainConfig(batch=8, mini_batch=3, epochs=2, pretrain_kimg=1, discriminator_kimg=1, total_kimg=4)
    phases = gail().phases(train)

    assert ["".join(p.name[0] for p in phases if p.is_due(0, kimg)) for kimg in (0.5, 1.5, 2.5)] == [
        "M",
        "DDD",
        "DDD" + "G" * 6,
    ]
    assert len({id(p.optimizer) for p in phases}) == 3


def test_more_parts_than_a_process_has_texts_are_refused(monkeypatch: pytest.MonkeyPatch):
    """Their losses would be means of nothing."""
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    with pytest.raises(InvalidValueError, match="at least 4 is needed"):
        gail().phases(GAILTrainConfig(batch=8, mini_batch=2))


def test_mini_batches_together_are_the_whole_buffer():
    """At unchanged weights the steps' losses, by their sizes, are that of all texts: ratios are 1, the mean is left."""
    gan = gail()
    step = step_of(gan)
    phases = [p for p in gan.phases(GAILTrainConfig(batch=8, mini_batch=3, demonstrations=0.5)) if p.name == "G"]
    losses = [float(p.loss(step)["loss"]) for p in phases]

    assert sum(loss * size for loss, size in zip(losses, (3, 3, 2), strict=True)) == pytest.approx(-4 * 2.0, abs=1e-3)


def test_the_generator_s_step_makes_what_was_rewarded_likelier():
    """The gradient of the first step is that of the advantage-weighted log-probability."""
    gan = gail()
    step = step_of(gan)
    phase = next(p for p in gan.phases(GAILTrainConfig(batch=8, mini_batch=8)) if p.name == "G")
    with trainable(gan.generator):
        phase.loss(step)["loss"].backward()
        found = gan.generator.trunk.wpe.weight.grad.clone()
        gan.zero_grad()
        again = step_of(gan)
        buffer = gan._fill_buffer(again, gan._generate_texts(again), 0.3, GAILTrainConfig())
        log_probabilities = gan.generator.log_probabilities(buffer.tokens).sum(1)
        (-(log_probabilities * buffer.advantage).mean()).backward()

    torch.testing.assert_close(found, gan.generator.trunk.wpe.weight.grad)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_sampling_with_a_cache_agrees_with_reading_whole_texts(family: str, tied: bool):
    """Each token is the one that its uniform number falls on by the logits of a whole forward pass."""
    config = replace(CONFIG, family=family, tied=tied)
    policy = spread(gail(config).generator)
    uniforms = Noise(0).uniform(16, 6)
    tokens = policy(uniforms)

    probabilities = (policy.logits(tokens) + policy.banned).softmax(-1)
    assert torch.equal((probabilities.cumsum(-1) <= uniforms[..., None]).sum(-1), tokens)
    assert not torch.isin(tokens, torch.tensor([0, 1])).any()


def test_the_padding_of_a_text_does_not_count():
    """The discriminator's score depends on the text and its end alone."""
    discriminator = gail(replace(CONFIG, ends=True, banned=(1,))).discriminator
    filled = torch.tensor([[3, 4, 0, 0, 0, 0], [3, 4, 0, 7, 8, 9]])

    scores = discriminator(filled)

    torch.testing.assert_close(scores[0], scores[1])


def test_sizes_that_make_no_transformer_are_refused():
    """A width that the heads do not divide, and fewer positions than tokens, with both numbers."""
    with pytest.raises(InvalidValueError, match=r"model.width = 10 should be a multiple of model.num_heads = 4"):
        replace(CONFIG, width=10, num_heads=4)
    with pytest.raises(InvalidValueError, match=r"model.positions = 4.*model.length = 6"):
        replace(CONFIG, positions=4)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def write_checkpoint(folder: Path, family: str = "gpt2", *, letters: str = ALPHABET, **values: object) -> Path:
    """A small causal language model of letters, with its tokenizer, as `transformers` saves them."""
    vocab = {letter: i for i, letter in enumerate([*letters, "<|endoftext|>"])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", unk_token="<|endoftext|>", model_max_length=32
    )
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
    if family != "gpt2":
        sizes["intermediate_size"] = 16
    torch.manual_seed(3)
    config = AutoConfig.for_model(family, **{"vocab_size": len(vocab) + 3, **sizes, **values})
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.mul_(4)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    lines = Lines(length=10)
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(dict.fromkeys(lines._text(i) for i in range(96))))
    return path


def start_training(texts: Path, checkpoint: Path, out: Path, *more: str) -> TextGAIL:
    overrides = [
        f"train.start=transformers:{checkpoint}", f"data.tokenizer={checkpoint}", "model.length=10", "train.batch=4",
        "train.total_kimg=0.004", "train.pretrain_kimg=0", "train.discriminator_kimg=0",
        "train.lr_decay_share=0", *more,
    ]  # fmt: skip
    zoo.train("text-gail", out=out, data=str(texts), overrides=overrides, log=lambda line: None)
    return Run.open(out).load()[0]  # type: ignore[return-value]


def start_from(checkpoint: Path, folder: Path, *, length: int = 10) -> tuple[TextGAIL, Tensor]:
    """Build the networks from a checkpoint, over a store of its tokenizer, and each token's row in the checkpoint."""
    vocabulary = Vocabulary.from_transformers(PreTrainedTokenizerFast.from_pretrained(checkpoint))
    source = Lines(length=length)
    source.assets = {"tokenizer.json": vocabulary.to_json()}
    source._vocabulary = vocabulary
    store = build_store(source, folder)
    config = TextGAIL.config_for(replace(CONFIG, length=length), store)
    gan = TextGAIL.from_language_model(config, f"transformers:{checkpoint}", store, seed=0)
    rows = [ALPHABET.index(token) if token in ALPHABET else len(ALPHABET) for token in vocabulary.tokens]
    return gan.eval().requires_grad_(False), torch.tensor(rows)


def test_a_start_from_a_checkpoint_has_its_logits(family: str, tmp_path: Path):
    """The generator gives each token of the data what the checkpoint gives the token of that name."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", family)
    gan, rows = start_from(checkpoint, tmp_path / "store")
    theirs = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    tokens = torch.randint(2, gan.config.vocabulary, (5, 10), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = torch.cat([torch.full((5, 1), len(ALPHABET)), rows[tokens[:, :-1]]], dim=1)
        expected = theirs(before).logits[..., rows]

    torch.testing.assert_close(gan.generator.logits(tokens), expected, rtol=1e-4, atol=1e-4)
    assert (gan.config.family, gan.config.width, gan.config.positions) == (family, 8, 32)


def test_training_starts_from_a_checkpoint_and_resumes(texts: Path, tmp_path: Path):
    """`train.start=transformers:FOLDER` sets the sizes and trains; the resumed run keeps them."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    gan = start_training(texts, checkpoint, tmp_path / "run", "train.demonstrations=0")
    assert (gan.config.num_layers, gan.config.width) == (2, 8)

    zoo.train(resume=tmp_path / "run", overrides=["train.total_kimg=0.008"], log=lambda line: None)

    assert "0.008" in (tmp_path / "run" / "log.jsonl").read_text()
    assert Run.open(tmp_path / "run").load()[0].config == gan.config


def test_a_start_finds_the_tokens_of_a_byte_level_tokenizer(texts: Path, tmp_path: Path):
    """With merges of bytes, as GPT-2's, and one token for its end, beginning and unknown: names find their rows."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", vocab_size=300)
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        texts.read_text().splitlines(), trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet)
    )
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=end, bos_token=end, unk_token=end)
    fast.save_pretrained(checkpoint)

    gan = start_training(texts, checkpoint, tmp_path / "run")

    theirs = AutoModelForCausalLM.from_pretrained(checkpoint).get_input_embeddings().weight
    assert gan.vocabulary is not None
    ids = fast.get_vocab()
    places = [ids[token] for token in gan.vocabulary.tokens[2:]]
    ours = gan.generator.trunk.wte.weight
    torch.testing.assert_close(ours[2:], theirs[places], rtol=0, atol=1e-3)  # a step of the training apart
    torch.testing.assert_close(ours[0], theirs[ids[end]], rtol=0, atol=1e-3)


def test_the_random_weights_of_a_start_are_the_seed_s(tmp_path: Path):
    """Starting twice gives the same discriminator, and leaves torch's own random numbers alone."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    state = torch.get_rng_state()
    first, second = (start_from(checkpoint, tmp_path / name)[0].state_dict() for name in ("a", "b"))

    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_texts_of_another_tokenizer_are_refused(texts: Path, tmp_path: Path):
    """A vocabulary with tokens that the checkpoint does not know names some, and says which tokenizer to take."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", letters=ALPHABET[:5])
    with pytest.raises(InvalidValueError, match=r"15 of the 22 tokens.*'f'.*data.tokenizer="):
        start_training(texts, checkpoint, tmp_path / "run", "data.tokenizer=", "data.unit=character")


def test_texts_longer_than_a_checkpoint_reads_are_refused(tmp_path: Path):
    """Both lengths, and what to set."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", max_position_embeddings=8)
    with pytest.raises(InvalidValueError, match=r"reads 8 tokens and the texts have 10: set model.length=8"):
        start_from(checkpoint, tmp_path / "store")


def test_a_checkpoint_with_more_to_it_than_sizes_is_refused(tmp_path: Path):
    """A config value that the model config has no key for changes what is computed, which is noticed."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", activation_function="relu", layer_norm_epsilon=0.5)
    with pytest.raises(InvalidValueError, match="parts or values of its own"):
        start_from(checkpoint, tmp_path / "store")
    narrow = write_checkpoint(tmp_path / "grouped", "llama", num_key_value_heads=1)
    with pytest.raises(InvalidValueError, match="parts or values of its own"):
        start_from(narrow, tmp_path / "store2")


def test_what_is_no_such_checkpoint_is_refused(tmp_path: Path):
    """Pickled weights, an encoder, an empty folder: an error that says what is taken."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(InvalidFileError, match=r"could not be loaded.*safetensors"):
        start_from(checkpoint, tmp_path / "store")
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InvalidValueError, match=r"type bert; text-gail knows gpt2"):
        start_from(checkpoint, tmp_path / "store2")


def test_an_architecture_without_use_for_them_refuses_weights_of_another_library(texts: Path, tmp_path: Path):
    """text-mle says that it cannot start from a transformer."""
    overrides = ["train.start=transformers:gpt2", "train.batch=4", "model.length=10"]
    with pytest.raises(InvalidValueError, match="MLE cannot start from weights of another library"):
        zoo.train("text-mle", out=tmp_path / "run", data=str(texts), overrides=overrides, log=lambda line: None)


def test_a_release_of_such_a_start_says_nothing_of_the_trainer_s_disk(texts: Path, tmp_path: Path):
    """Card, recipe and config name the checkpoint's folder and not its path; the weights load and sample."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    start_training(texts, checkpoint, tmp_path / "run")

    folder = release(tmp_path / "run", out=tmp_path / "release", metrics=METRICS)

    for file in folder.rglob("*"):
        assert file.is_dir() or str(tmp_path).encode() not in file.read_bytes(), file
    assert "`transformers:checkpoint`" in (folder / "README.md").read_text()
    assert zoo.load(folder).sample(3, seed=0).tensor.shape == (3, 10)


def test_a_card_tells_a_folder_by_its_name_alone():
    """Where a checkpoint lies on the trainer's disk is nobody's business; a Hub id is."""
    assert without_place("transformers:/home/somebody/models/tiny") == "transformers:tiny"
    assert without_place("transformers:openai-community/gpt2") == "transformers:openai-community/gpt2"
    assert without_place("/home/somebody/run") == "run"
    assert without_place("faces-dcgan") == "faces-dcgan"
