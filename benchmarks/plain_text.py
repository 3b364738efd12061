"""SeqGAN's search as one would write it plainly: what benchmarks/textbook.py times, and tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.text.architectures.seqgan import SeqGAN
from zoo.text.policies import RecurrentPolicy

Draw = Callable[[Tensor, Tensor], Tensor]  # states, and their uniform numbers [N] -> tokens [N]


@torch.no_grad()
def complete_plainly(
    policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise, draw: Draw | None = None
) -> Tensor:
    """Complete texts as `complete_prefixes` does, by the nested loop over prefixes and rollouts.

    `draw` samples the tokens; without it, the policy does.
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


def complete_by_multinomial(policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """Complete texts as the field's ports do: the nested loop, each token by `torch.multinomial` of the softmax."""

    def draw(state: Tensor, uniforms: Tensor) -> Tensor:
        return torch.multinomial((policy.next_logits(state) + policy.banned).softmax(-1), 1).squeeze(1)

    return complete_plainly(policy, tokens, num, noise, draw)


@torch.no_grad()
def compute_plain_reward(gan: SeqGAN, tokens: Tensor, num: int) -> Tensor:
    """Compute SeqGAN's reward [N, T] with the nested loop, the discriminator batch by batch, with its gradients on."""
    texts = complete_by_multinomial(gan.generator, tokens, num, Noise(0))
    rewards = []
    for prefix in range(tokens.shape[1] - 1):
        with torch.enable_grad():
            rewards_of = [gan.discriminator(texts[:, prefix, rollout]).sigmoid() for rollout in range(num)]
        rewards.append(torch.stack(rewards_of).mean(0).detach())
    return torch.stack([*rewards, gan.discriminator(tokens).sigmoid()], dim=1)
