"""Monte-Carlo search: texts begun by one policy and ended by another, all prefixes at once.

SeqGAN's reward of a token is what the discriminator thinks, on average, of texts that begin with it (Yu et al. 2017,
arXiv:1609.05473, equation 4). The plain way writes every completion from the start: for each of T - 1 prefixes and N
rollouts, T steps. Here the text is read once, each prefix's state is copied N times when the reading reaches it, and
all copies go on together: half the steps, and T large ones instead of many small ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.text.policies import RecurrentPolicy, fill_after_end

CHUNK = 128  # rows whose scores are computed at once, so that they stay in the processor's cache


@torch.no_grad()
def completions(policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """Texts [N, T] completed `num` times from each of their prefixes of 1 to T - 1 tokens: [N, T - 1, num, T]."""
    n, length = tokens.shape
    texts = tokens[:, None, None].expand(n, length - 1, num, length).clone()
    uniforms = noise.uniform(n, length - 1, num, length).to(tokens.device)
    states = policy.read_states(tokens)  # of the prefix of t tokens at t
    rows = states.new_empty(0, *states.shape[2:])
    for t in range(1, length):
        rows = torch.cat([rows, states[:, t].repeat_interleave(num, dim=0)])  # [t N num, ...]
        drawn = _draw(policy, rows, uniforms[:, :t, :, t].transpose(0, 1).flatten())  # [t N num], prefix by prefix
        texts[:, :t, :, t] = drawn.view(t, n, num).transpose(0, 1)
        if t + 1 < length:
            rows = policy.read(drawn, rows)
    return fill_after_end(texts.flatten(0, 2)).view_as(texts) if policy.config.ends else texts


def _draw(policy: RecurrentPolicy, rows: Tensor, uniforms: Tensor) -> Tensor:
    chunks = zip(rows.split(CHUNK), uniforms.split(CHUNK), strict=True)
    return torch.cat([policy.sample_next(some, numbers) for some, numbers in chunks])
