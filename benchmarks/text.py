"""The plain ways to do what this wing does in batches: what `zoo bench text-seqgan` times, and tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.text.architectures.seqgan import SeqGAN
from zoo.text.policies import RecurrentPolicy

Draw = Callable[[Tensor, Tensor], Tensor]  # states, and their uniform numbers [N] -> tokens [N]


@torch.no_grad()
def plain_completions(
    policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise, draw: Draw | None = None
) -> Tensor:
    """As `completions`, by the nested loop over prefixes and rollouts, each from the first token on.

    Tokens are drawn by `draw`, or as the policy does.
    """
    draw = draw or policy.sample_next
    n, length = tokens.shape
    uniforms = noise.uniform(n, length - 1, num, length)
    texts = tokens[:, None, None].expand(n, length - 1, num, length).clone()
    for prefix in range(1, length):
        for rollout in range(num):
            text, numbers = texts[:, prefix - 1, rollout], uniforms[:, prefix - 1, rollout]
            state = policy.first_state(n)
            for t in range(length):
                if t >= prefix:
                    text[:, t] = draw(state, numbers[:, t])
                if t + 1 < length:
                    state = policy.read(text[:, t], state)
    return texts


def multinomial_completions(policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """The nested loop as the field's ports write it, each token by `torch.multinomial` of the softmax."""

    def draw(state: Tensor, uniforms: Tensor) -> Tensor:
        return torch.multinomial((policy.next_logits(state) + policy.banned).softmax(-1), 1).squeeze(1)

    return plain_completions(policy, tokens, num, noise, draw)


@torch.no_grad()
def plain_reward(gan: SeqGAN, tokens: Tensor, num: int) -> Tensor:
    """SeqGAN's reward [N, T] with the nested loop, the discriminator asked batch by batch, with its gradients on."""
    texts = multinomial_completions(gan.generator, tokens, num, Noise(0))
    rewards = []
    for prefix in range(tokens.shape[1] - 1):
        with torch.enable_grad():
            judged = [gan.discriminator(texts[:, prefix, rollout]).sigmoid() for rollout in range(num)]
        rewards.append(torch.stack(judged).mean(0).detach())
    return torch.stack([*rewards, gan.discriminator(tokens).sigmoid()], dim=1)
