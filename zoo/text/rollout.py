"""Monte-Carlo search: texts that one policy starts and another completes, for all prefixes at once.

In SeqGAN the reward of a token is the discriminator's mean output on texts that start with it (Yu et al. 2017,
arXiv:1609.05473, equation 4). The plain way samples every completion from the start: T steps for each of T - 1 prefixes
and N rollouts. Here the text is read once. When the reading reaches a prefix, its state is copied N times, and all
copies continue together. That takes half the steps, and T large steps instead of many small ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.device import send
from zoo.noise import Noise
from zoo.text.policies import RecurrentPolicy, fill_after_end

CHUNK = 128  # rows whose logits are computed at once, so that they stay in the processor's cache


@torch.no_grad()
def complete_prefixes(policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """Complete each prefix of texts [N, T], of 1 to T - 1 tokens, `num` times: [N, T - 1, num, T]."""
    n, length = tokens.shape
    texts = tokens[:, None, None].expand(n, length - 1, num, length).clone()
    uniforms = send(noise.uniform(n, length - 1, num, length), tokens.device)
    states = policy.read_states(tokens)  # of the prefix of t tokens at t
    rows = states.new_empty(0, *states.shape[2:])
    for t in range(1, length):
        rows = torch.cat([rows, states[:, t].repeat_interleave(num, dim=0)])  # [t N num, ...]
        sampled = _sample_next(
            policy, rows, uniforms[:, :t, :, t].transpose(0, 1).flatten()
        )  # [t N num], prefix by prefix
        texts[:, :t, :, t] = sampled.view(t, n, num).transpose(0, 1)
        if t + 1 < length:
            rows = policy.read(sampled, rows)
    return fill_after_end(texts.flatten(0, 2)).view_as(texts) if policy.config.ends else texts


def _sample_next(policy: RecurrentPolicy, rows: Tensor, uniforms: Tensor) -> Tensor:
    chunks = zip(rows.split(CHUNK), uniforms.split(CHUNK), strict=True)
    return torch.cat([policy.sample_next(some, numbers) for some, numbers in chunks])
