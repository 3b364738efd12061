"""Adversarial losses and gradient penalties, against their papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zoo.noise import Noise
from zoo.training.losses import LOSSES, Penalties

REAL = torch.tensor([1.5, -0.5, 0.25])
FAKE = torch.tensor([-2.0, 0.75, 0.0])


def test_minimax_is_equation_1_of_the_paper():
    """D maximizes log D(x) + log(1 - D(G(z))), G minimizes log(1 - D(G(z))), with D = sigmoid(logit)."""
    d_real, d_fake = REAL.sigmoid(), FAKE.sigmoid()
    value = d_real.log().mean() + (1 - d_fake).log().mean()

    torch.testing.assert_close(LOSSES["minimax"].discriminator(REAL, FAKE), -value)
    torch.testing.assert_close(LOSSES["minimax"].generator(FAKE), (1 - d_fake).log().mean())


def test_non_saturating_maximizes_log_d():
    """G maximizes log D(G(z)) (section 3); D's loss is that of equation 1."""
    torch.testing.assert_close(LOSSES["non_saturating"].generator(FAKE), -FAKE.sigmoid().log().mean())
    torch.testing.assert_close(
        LOSSES["non_saturating"].discriminator(REAL, FAKE), LOSSES["minimax"].discriminator(REAL, FAKE)
    )


def test_least_squares_hinge_and_wasserstein_are_their_papers():
    """LSGAN equation 9, the hinge loss of SNGAN, the critic's gap of WGAN."""
    torch.testing.assert_close(
        LOSSES["least_squares"].discriminator(REAL, FAKE), 0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean()
    )
    torch.testing.assert_close(LOSSES["least_squares"].generator(FAKE), 0.5 * ((FAKE - 1) ** 2).mean())
    hinge = torch.minimum(torch.zeros(3), -1 + REAL).mean() + torch.minimum(torch.zeros(3), -1 - FAKE).mean()
    torch.testing.assert_close(LOSSES["hinge"].discriminator(REAL, FAKE), -hinge)
    torch.testing.assert_close(LOSSES["wasserstein"].discriminator(REAL, FAKE), FAKE.mean() - REAL.mean())
    pairs = (REAL - FAKE).sigmoid().log().mean()
    torch.testing.assert_close(LOSSES["relativistic"].discriminator(REAL, FAKE), -pairs)
    torch.testing.assert_close(LOSSES["relativistic"].generator(FAKE - REAL), -(FAKE - REAL).sigmoid().log().mean())
    for name in ("hinge", "wasserstein"):
        torch.testing.assert_close(LOSSES[name].generator(FAKE), -FAKE.mean())


@pytest.mark.parametrize(("name", "output"), [("minimax", 0.0), ("non_saturating", 0.0), ("least_squares", 0.5)])
def test_equilibrium_is_the_least_loss_without_knowledge(name: str, output: float):
    """Where real and fake cannot be told apart, the best constant output gives the equilibrium loss."""
    loss = LOSSES[name]
    outputs = torch.linspace(-2, 2, 401)
    values = torch.stack([loss.discriminator(o[None], o[None]) for o in outputs])

    assert outputs[values.argmin()].item() == pytest.approx(output, abs=0.011)
    assert values.min().item() == pytest.approx(loss.equilibrium, abs=1e-4)
    assert LOSSES["minimax"].equilibrium == math.log(4)


@pytest.mark.parametrize("name", LOSSES)
def test_generator_gains_when_the_discriminator_is_fooled(name: str):
    """Every generator loss falls as the discriminator's output on a fake rises towards that of a real sample."""
    logit = torch.tensor([0.2], requires_grad=True)
    LOSSES[name].generator(logit).backward()

    assert logit.grad.item() < 0


def test_saturation_is_what_the_paper_says():
    """While D rejects with confidence, minimax gives G almost no gradient, and the other loss nearly a full one."""
    gradients = {}
    for name in ("minimax", "non_saturating"):
        logit = torch.tensor([-8.0], requires_grad=True)
        LOSSES[name].generator(logit).backward()
        gradients[name] = abs(logit.grad.item())

    assert gradients["minimax"] < 1e-3
    assert gradients["non_saturating"] > 0.99


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    """For D(x) = w.x the penalty is |w|^2, and its gradient 2 w reaches the weights."""
    linear = nn.Linear(5, 1, bias=False)

    penalty = Penalties().r1(lambda x: linear(x)[:, 0], torch.randn(7, 5), Noise(0))
    penalty.backward()

    torch.testing.assert_close(penalty, linear.weight.square().sum())
    torch.testing.assert_close(linear.weight.grad, 2 * linear.weight.detach())


def test_gradient_penalty_of_a_linear_critic_is_its_distance_from_slope_one():
    """For D(x) = w.x the penalty is (|w| - 1)^2 wherever on the line it is taken."""
    linear = nn.Linear(5, 1, bias=False)

    penalty = Penalties().gradient_penalty(lambda x: linear(x)[:, 0], torch.randn(4, 5), torch.randn(4, 5), Noise(0))

    torch.testing.assert_close(penalty, (linear.weight.norm() - 1) ** 2)


def test_gradient_penalty_is_taken_between_real_and_fake():
    """Each point is on the line from a real sample to its fake one, at one share for all values of a sample."""
    seen = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    Penalties().gradient_penalty(critic, torch.zeros(6, 2, 3), torch.ones(6, 2, 3), Noise(0))

    (points,) = seen
    assert bool(((points >= 0) & (points <= 1)).all())
    assert torch.equal(points, points[:, :1, :1].expand_as(points))
    assert len(points[:, 0, 0].unique()) == 6


class Quadratic(nn.Module):
    """D(x) = x.A x / 2 + b.x, whose gradient A x + b is known."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.eye(6) + 0.1)
        self.b = nn.Parameter(torch.linspace(-1, 1, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * (x @ self.a)).sum(1) / 2 + x @ self.b


@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_approximate_penalties_have_the_exact_mean_and_gradient(penalty: str):
    """Over many directions, finite differences give the penalty and its gradients, without a second derivative."""
    network, x = Quadratic(), torch.randn(3, 6).repeat(20_000, 1)

    def compute(penalties: Penalties) -> tuple[float, torch.Tensor]:
        network.zero_grad()
        arguments = (network, x, Noise(0)) if penalty == "r1" else (network, x, x, Noise(0))
        value = getattr(penalties, penalty)(*arguments)
        value.backward()
        return value.item(), torch.cat([network.a.grad.flatten(), network.b.grad])

    (exact, gradient), (near, near_gradient) = compute(Penalties()), compute(Penalties(approximate=True))

    assert near == pytest.approx(exact, rel=0.03)
    torch.testing.assert_close(near_gradient, gradient, rtol=0, atol=0.03 * float(gradient.norm()))


def test_approximate_penalties_see_one_network():
    """Dropout draws the same numbers in both passes; otherwise their difference would be nothing but dropout."""
    network = nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5), nn.Linear(50, 1))
    discriminator = lambda x: network(x)[:, 0]  # noqa: E731
    exact = Penalties().r1(discriminator, torch.randn(2000, 6), Noise(0)).item()

    near = Penalties(approximate=True).r1(discriminator, torch.randn(2000, 6), Noise(0)).item()

    assert near == pytest.approx(exact, rel=0.2)


def test_compiled_penalties_have_exact_gradients(monkeypatch: pytest.MonkeyPatch):
    """A penalty compiled as one function has the gradients of the eager one."""
    monkeypatch.setattr("zoo.nn.compiling.BACKEND", "aot_eager")
    network, x = Quadratic(), torch.randn(5, 6)
    gradients = []
    for compiled in (False, True):
        network.zero_grad()
        Penalties(compiled=compiled).r1(network, x, Noise(0)).backward()
        gradients.append(network.a.grad.clone())

    assert gradients[0].any()
    torch.testing.assert_close(gradients[1], gradients[0])
