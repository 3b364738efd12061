"""The oracle of the synthetic benchmark: an LSTM with random parameters that knows the likelihood of every text.

Yu et al. 2017 (SeqGAN), arXiv:1609.05473, section 4.1: vocabulary 5,000, embedding and hidden state of 32, every
parameter from N(0, 1). Texts have 20 or 40 tokens after start token 0, which is an ordinary word, too. Its samples are
the training data. A generator's score is the oracle's negative log-likelihood (NLL) of its samples, in nats per token.
The NLL of the oracle's own samples is its entropy: 5.723 +- 0.005 at length 20 and 5.715 +- 0.004 at 40 for seed 0.

    python -m zoo.text.oracle.model                                   # the entropy of our oracle, seed 0
    zoo convert target_params.pkl --out oracle.safetensors            # converts the paper's oracle
    python -m zoo.text.oracle.model --weights oracle.safetensors      # its entropy: 5.74 to 5.75

An NLL below the entropy is not better. It means that samples keep to what the oracle finds likely. Published numbers
come from several oracles, and those of different oracles are not comparable. The parameters of the paper's oracle have
no license, so they are not part of this library; `official.py` converts the file.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidValueError, ZooError
from zoo.io.weights import check_weights, load_weights
from zoo.noise import Noise

VOCABULARY = 5000
DIM = 32
START = 0
LENGTHS = (20, 40)


class Oracle(nn.Module):
    """The LSTM, with row vectors as in the paper's code, and gates in the order input, forget, cell, output.

    Parameters are sampled from N(0, 1) by `seed`, the same on every platform.
    """

    def __init__(self, seed: int = 0, *, vocabulary: int = VOCABULARY, dim: int = DIM) -> None:
        super().__init__()
        noise = Noise(seed)
        self.embedding = nn.Parameter(noise.normal(vocabulary, dim))
        self.input_weight = nn.Parameter(noise.normal(dim, 4 * dim))
        self.hidden_weight = nn.Parameter(noise.normal(dim, 4 * dim))
        self.bias = nn.Parameter(noise.normal(4 * dim))
        self.output_weight = nn.Parameter(noise.normal(dim, vocabulary))
        self.output_bias = nn.Parameter(noise.normal(vocabulary))
        self.requires_grad_(False)

    def step(self, tokens: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute logits [N, V] of the tokens after `tokens` [N], and the new state: hidden and cell, [N, D] each."""
        hidden, cell = state
        gates = self.embedding[tokens] @ self.input_weight + hidden @ self.hidden_weight + self.bias  # [N, 4D]
        i, f, g, o = gates.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        return hidden @ self.output_weight + self.output_bias, (hidden, cell)

    def initial_state(self, n: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the start tokens [n] and the state before them, zero."""
        zero = self.embedding.new_zeros(n, self.hidden_weight.shape[0])
        return torch.full((n,), START, device=zero.device), (zero, zero)

    @torch.no_grad()
    def sample(self, n: int, length: int = 20, *, seed: int, temperature: float = 1.0, batch_size: int = 512) -> Tensor:
        """Sample token ids [n, length] int64. The same seed gives the same first rows, whatever n is.

        Raises InvalidValueError for n or length below 1, or a temperature that is not above 0.
        """
        if n < 1 or length < 1:
            raise InvalidValueError(f"n = {n} and length = {length} should be at least 1")
        if not 0 < temperature < math.inf:
            raise InvalidValueError(f"temperature = {temperature} should be above 0")
        uniform = Noise(seed).uniform(n, length).to(self.embedding.device)
        return torch.cat([self._sample(rows, temperature) for rows in uniform.split(batch_size)])

    def _sample(self, uniform: Tensor, temperature: float) -> Tensor:
        """Invert the cumulative distribution at `uniform` [N, T]: one random number a token, not one a word."""
        tokens, state = self.initial_state(len(uniform))
        texts = []
        for column in uniform.T.contiguous():
            logits, state = self.step(tokens, state)
            cumulative = (logits / temperature).softmax(1).cumsum(1)  # [N, V]
            target = (column[:, None] * cumulative[:, -1:]).contiguous()  # the last is 1 but for rounding
            tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=cumulative.shape[1] - 1)
            texts.append(tokens)
        return torch.stack(texts, dim=1)

    @torch.no_grad()
    def nll(self, tokens: Tensor, *, batch_size: int = 512) -> Tensor:
        """Compute the negative log-likelihood, in nats, of every token of texts [N, T]; the mean is the score.

        Raises InvalidValueError for another shape, or ids out of the vocabulary.
        """
        if tokens.ndim != 2 or tokens.numel() == 0 or tokens.is_floating_point():
            raise InvalidValueError(f"texts must be token ids [N, T]; got {tokens.dtype} {list(tokens.shape)}")
        lowest, highest, last = int(tokens.min()), int(tokens.max()), len(self.embedding) - 1
        if not 0 <= lowest <= highest <= last:
            raise InvalidValueError(f"the oracle's tokens are 0 to {last}; got {lowest} to {highest}")
        return torch.cat([self._nll(rows.to(self.embedding.device)) for rows in tokens.long().split(batch_size)])

    def _nll(self, tokens: Tensor) -> Tensor:
        before, state = self.initial_state(len(tokens))
        losses = []
        for column in tokens.T:
            logits, state = self.step(before, state)
            losses.append(F.cross_entropy(logits, column, reduction="none"))
            before = column
        return torch.stack(losses, dim=1)

    def own_nll(self, length: int = 20, *, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
        """Compute the NLL per token of the oracle's own samples, and its standard error over texts."""
        of_texts = self.nll(self.sample(samples, length, seed=seed)).double().mean(1)
        return float(of_texts.mean()), float(of_texts.std() / math.sqrt(samples))


def load_oracle(path: Path) -> Oracle:
    """Load an oracle from a file that `official.py` converted. Raises InvalidFileError."""
    oracle = Oracle()
    check_weights(path, oracle.state_dict(), "the oracle")
    load_weights(path, oracle)
    return oracle


def main() -> None:
    """Run the command line."""
    import argparse

    parser = argparse.ArgumentParser(description="Measure the entropy of an oracle.")
    parser.add_argument("--seed", type=int, default=0, help="of the oracle's parameters (default 0)")
    parser.add_argument(
        "--weights", type=Path, help="instead of a seed: a file that zoo.text.oracle.official converted"
    )
    parser.add_argument("--samples", type=int, default=10_000)
    options = parser.parse_args()
    try:
        oracle = load_oracle(options.weights) if options.weights else Oracle(options.seed)
        for length in LENGTHS:
            nll, spread = oracle.own_nll(length, samples=options.samples)
            print(f"length {length}: {nll:.4f} +- {spread:.4f} nats per token, {options.samples} samples of seed 0")
    except ZooError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
