"""A DCGAN as tutorials write it: what benchmarks/textbook.py and benchmarks/gpu.py time this library against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.recipe import Recipe


def make_textbook_networks(recipe: Recipe) -> tuple[nn.Sequential, nn.Sequential]:
    """Make generator and discriminator of the recipe's sizes as the tutorials write them."""
    gan = recipe.build()
    return gan.generator.main, gan.discriminator.main  # type: ignore[return-value]


def make_textbook_step(recipe: Recipe, real: Tensor) -> Callable[[], None]:
    """Make the tutorials' training step on the real images [N, 3, R, R], on their device."""
    generator, discriminator = (network.to(real.device) for network in make_textbook_networks(recipe))
    criterion = nn.BCEWithLogitsLoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(len(real), device=real.device), torch.zeros(len(real), device=real.device)

    def step() -> None:
        discriminator.zero_grad()
        criterion(discriminator(real).view(-1), ones).backward()
        fake = generator(torch.randn(len(real), recipe.model.latent_dim, 1, 1, device=real.device))
        criterion(discriminator(fake.detach()).view(-1), zeros).backward()
        optimizer_d.step()
        generator.zero_grad()
        criterion(discriminator(fake).view(-1), ones).backward()
        optimizer_g.step()

    return step
