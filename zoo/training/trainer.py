"""The Trainer: everything that changes from step to step, as one state dictionary, and the step itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from zoo.data import Batches, Store
from zoo.errors import DivergenceError, InvalidValueError
from zoo.gan import GAN
from zoo.modality import Decode, kind_of
from zoo.nn.compiling import compile_network
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.recipe import Recipe
from zoo.training import distributed
from zoo.training.ema import Average
from zoo.training.graphs import GraphedSteps, Recorder, Terms
from zoo.training.phases import Phase, Step, trainable
from zoo.training.precision import Precision
from zoo.training.report import TrainingReport


class Trainer:
    """The networks, their average, optimizers, data order and random numbers of one training.

    Args:
        decode: turns stored rows into what the networks see.
    """

    def __init__(self, recipe: Recipe, store: Store, decode: Decode, device: torch.device) -> None:
        train = recipe.train
        rank, world_size = distributed.rank(), distributed.world_size()
        if train.batch % world_size:
            raise InvalidValueError(f"train.batch = {train.batch} should divide by the {world_size} processes")
        torch.manual_seed(train.seed + rank)  # for dropout, each process has its own stream
        self.gan: GAN = recipe.build()
        self.gan.load_assets(store.folder)
        self.gan.init_from_data(store)
        distributed.broadcast([self.gan.to(device)])
        channels_last(self.gan).requires_grad_(False)
        self.average = Average(self.gan.generator, copied=self.gan.COPIED_BUFFERS)
        self.precision = Precision(self.gan, train, device)
        self._sent = torch.bfloat16 if train.all_reduce == "bf16" else torch.float32
        if train.sync_batchnorm and world_size > 1:
            if device.type != "cuda":
                raise InvalidValueError(f"train.sync_batchnorm = true: needs CUDA devices, and this is {device}")
            nn.SyncBatchNorm.convert_sync_batchnorm(self.gan)
        if train.compile:
            for network in self.gan.networks.values():
                compile_network(network)
        self._graphed = GraphedSteps(Recorder(device)) if train.cuda_graphs and device.type == "cuda" else None
        self.phases: list[Phase] = self.gan.phases(train)
        self._frozen = find_frozen(self.gan, train.freeze_discriminator)
        self.noise = Noise(train.seed, rank=rank, world_size=world_size)
        self.batches = Batches(
            store,
            decode,
            batch=train.batch,
            seed=train.seed,
            augment=kind_of(recipe).augment if recipe.data.augments else None,
            device=device,
            placement=recipe.data.placement,
            decode_on_device=recipe.data.decodes_on_device,
            rank=rank,
            world_size=world_size,
            balanced=recipe.data.balanced,
        )
        self.store, self.decode = store, decode
        self.device, self.recipe, self.num_steps = device, recipe, 0
        self.best = math.inf  # the lowest value so far of the first held-out metric
        self.optimizers = list(dict.fromkeys(phase.optimizer for phase in self.phases))
        self._is_finite = torch.ones((), dtype=torch.bool, device=device)
        self._starts = [
            [(group["lr"], group.get("betas")) for group in optimizer.param_groups] for optimizer in self.optimizers
        ]

    @property
    def kimg(self) -> float:
        """Thousands of real samples shown so far."""
        return self.num_steps * self.recipe.train.batch / 1000

    @property
    def _extra_states(self) -> list[nn.Module]:
        return [phase.extra_state for phase in self.phases if phase.extra_state is not None]

    def step(self, report: TrainingReport) -> None:
        """Run every phase that is due, then update the average.

        Weights never take a step that is not finite. The CPU raises DivergenceError at once. Other devices are not
        waited for: there, `check_finite` raises it.
        """
        self._set_optimizers()
        due = [phase for phase in self.phases if phase.is_due(self.num_steps, self.kimg)]
        step = self._next_step(due)
        with self._follow(step, due) as compute:
            for phase in due:
                self._run_phase(phase, compute, report)
                if phase.after is not None:
                    phase.after(step)
        train = self.recipe.train
        halflife = train.ema_halflife_kimg
        halflife = train.follow_schedule(halflife, train.schedule.ema_halflife_kimg or halflife, self.kimg)
        self.num_steps += 1
        self.average.update(batch=train.batch, kimg=self.kimg, halflife_kimg=halflife, rampup=train.ema_rampup)

    def _next_step(self, due: list[Phase]) -> Step:
        real, labels = self.batches.at(self.num_steps, self.noise)
        return Step(
            self.gan,
            real,
            self.noise,
            train_generator=any(phase.module is self.gan.generator for phase in due),
            number=self.num_steps,
            kimg=self.kimg,
            labels=labels,
        )

    def _follow(self, step: Step, due: Sequence[Phase]) -> AbstractContextManager[Callable[[Phase], Terms]]:
        """Return the context of what computes the loss and gradients of a phase: as it is, or by a graph."""
        if self._graphed is None:
            return nullcontext(lambda phase: self._compute_gradients(phase, step))
        return self._graphed.follow(step, due, self._compute_gradients)

    def _compute_gradients(self, phase: Phase, step: Step) -> Terms:
        with self.precision.autocast():
            terms = phase.loss(step)
        phase.optimizer.zero_grad(set_to_none=True)
        self.precision.scale(terms["loss"]).backward()
        return terms

    def _run_phase(self, phase: Phase, compute: Callable[[Phase], Terms], report: TrainingReport) -> None:
        with trainable(phase.module, frozen=self._frozen):
            terms = compute(phase)
            distributed.average_gradients(phase.module, dtype=self._sent)
        self.precision.unscale(phase.optimizer)
        gradients = [p.grad for p in phase.module.parameters() if p.grad is not None]
        norm = measure_norm(gradients)
        # Scaled gradients of float16 overflow now and then. Such a step is left out, and the scale falls.
        self._is_finite &= (terms["loss"] if self.precision.scales else norm).isfinite()
        if self.device.type == "cpu" or not self._can_skip(phase.optimizer):
            self.check_finite(phase.name)
        if phase.max_grad_norm < math.inf:
            clip_norm(gradients, norm, phase.max_grad_norm)
        self.precision.step(phase.optimizer, self._is_finite)
        report.add(phase.name, {name: value.detach() for name, value in terms.items()}, norm)

    def _can_skip(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the optimizer leaves out a step by itself, so that nobody need wait for the numbers."""
        return bool(optimizer.defaults.get("fused")) or self.device.type == "meta"

    def check_finite(self, phase: str = "") -> None:
        """Raise DivergenceError where a loss or gradient was not finite; it waits for the device."""
        if self.device.type != "meta" and not self._is_finite.item():
            raise DivergenceError(
                f"{f'phase {phase}' if phase else 'a phase'} has no finite gradient at {self.kimg:.3f} kimg. "
                "Try lower learning rates, train.r1_gamma above 0, or a larger batch."
            )

    def _set_optimizers(self) -> None:
        """Set the learning rates and betas of this step, which the recipe's schedules give."""
        train = self.recipe.train
        factor = train.follow_schedule(1.0, train.schedule.lr_factor, self.kimg)
        if train.lr_decay_share:
            factor *= min(1.0, max(0.0, (1 - self.kimg / train.total_kimg) / train.lr_decay_share))
        for optimizer, starts in zip(self.optimizers, self._starts, strict=True):
            for group, (lr, betas) in zip(optimizer.param_groups, starts, strict=True):
                group["lr"] = lr * factor
                if betas is not None:
                    beta2 = train.follow_schedule(betas[1], train.schedule.beta2 or betas[1], self.kimg)
                    group["betas"] = (betas[0], beta2)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs."""
        return {
            "gan": self.gan.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "extra_states": [state.state_dict() for state in self._extra_states],
            "precision": self.precision.state_dict(),
            "noise": self.noise.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "step": self.num_steps,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.gan.load_state_dict(state["gan"])
        self.average.module.load_state_dict(state["average"])
        self.precision.load_state_dict(state["precision"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for module, saved in zip(self._extra_states, state["extra_states"], strict=True):
            module.load_state_dict(saved)
        self.noise.load_state_dict(state["noise"])
        if distributed.rank() == 0:
            torch.set_rng_state(state["torch_rng"])
        else:  # the saved dropout stream is the first process's; the others start streams of their own
            torch.manual_seed(self.recipe.train.seed + distributed.rank() + state["step"])
        self.num_steps, self.best = int(state["step"]), state["best"]

    def averaged_gan(self) -> GAN:
        """Copy the GAN as it is sampled, evaluated and released: the averaged generator, the live discriminator."""
        gan = copy.deepcopy(self.gan)
        gan.generator.load_state_dict(self.average.module.state_dict())
        return gan.eval()

    @torch.no_grad()
    def sample_average(self, latents: torch.Tensor) -> torch.Tensor:
        """Sample the averaged generator, on the CPU, in chunks that fit where a training batch does.

        Tokens stay whole numbers.
        """
        chunks = latents.to(self.device).split(max(16, self.recipe.train.batch))
        samples = torch.cat([self.average.module(chunk).cpu() for chunk in chunks])
        return samples.float() if samples.is_floating_point() else samples


def find_frozen(gan: GAN, layers: int) -> list[nn.Parameter]:
    """Find the parameters of the first layers of each discriminator, those next to its input.

    A layer is a matrix or kernel, with what follows until the next one. Raises InvalidValueError where no layer stays.
    """
    if not layers:
        return []
    discriminators = {name: network for name, network in gan.networks.items() if "discriminator" in name}
    if not discriminators:
        raise InvalidValueError(f"train.freeze_discriminator: {type(gan).__name__} has no discriminator; leave it out")
    frozen: list[nn.Parameter] = []
    for name, network in discriminators.items():
        seen = 0
        for own in _list_own_parameters(network):
            seen += any(p.dim() > 1 for p in own)
            if seen > layers:
                break
            frozen += own
        else:
            raise InvalidValueError(
                f"train.freeze_discriminator = {layers}: the {name.replace('_', ' ')} has {seen} layers, and some "
                "should learn"
            )
    return frozen


def _list_own_parameters(network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """List the parameters of each module itself. Those of its weight or spectral norm, in submodules, are its own."""
    parametrized: set[int] = set()
    for module in network.modules():
        if id(module) in parametrized:
            continue
        own = list(module.parameters(recurse=False))
        if is_parametrized(module):
            parts: nn.Module = module.parametrizations  # type: ignore[assignment]
            parametrized |= set(map(id, parts.modules()))
            own += parts.parameters()
        yield own


def measure_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Compute the Euclidean norm of all gradients together, a number on their device; 0 without any."""
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def clip_norm(gradients: list[torch.Tensor], norm: torch.Tensor, most: float) -> None:
    """Scale gradients of this norm down to `most`, in place, where they exceed it; no value is waited for."""
    exact = norm if norm.device.type == "mps" else norm.double()
    torch._foreach_mul_(gradients, (most / exact).clamp_max(1.0))
