"""The plain ways to do what this wing does in batches: what `zoo bench text-seqgan` times, and tests compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.text.base import Policy
from zoo.text.seqgan import SeqGAN


@torch.no_grad()
def plain_completions(policy: Policy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """As `completions`, by the nested loop over prefixes and rollouts, each from the first token on."""
    n, length = tokens.shape
    uniforms = noise.uniform(n, length - 1, num, length)
    texts = torch.empty(n, length - 1, num, length, dtype=torch.long)
    for prefix in range(1, length):
        for rollout in range(num):
            state = policy.read(torch.zeros(n, dtype=torch.long), policy.start(n))
            for t in range(length):
                token = tokens[:, t] if t < prefix else policy.draw(state, uniforms[:, prefix - 1, rollout, t])
                texts[:, prefix - 1, rollout, t] = token
                if t + 1 < length:
                    state = policy.read(token, state)
    return texts


@torch.no_grad()
def multinomial_completions(policy: Policy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """The nested loop as the field's ports write it, each token by `torch.multinomial` of the softmax."""
    n, length = tokens.shape
    texts = tokens[:, None, None].expand(n, length - 1, num, length).clone()
    for prefix in range(1, length):
        for rollout in range(num):
            state = policy.read(torch.zeros(n, dtype=torch.long), policy.start(n))
            for t in range(length):
                if t >= prefix:
                    chances = (policy.scores(state) + policy.barred).softmax(-1)
                    texts[:, prefix - 1, rollout, t] = torch.multinomial(chances, 1).squeeze(1)
                if t + 1 < length:
                    state = policy.read(texts[:, prefix - 1, rollout, t], state)
    return texts


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
