"""CUDA graphs: the losses and gradients of a step are recorded once, and replayed in every later step.

A small network's kernels take less time than their launches from Python. A replay launches all kernels of a phase at
once. So a step is recorded phase by phase: its losses and its backward pass, with all that they compute on the way.
Optimizers, norms and the average stay outside; they launch few kernels.

A graph reads and writes the same memory each time. So what differs from step to step lies in fixed tensors that are
filled before: the real samples and their classes, the progress, and all random numbers. Steps with other phases, such
as those with a lazy penalty, have graphs of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.device import send
from zoo.errors import InvalidValueError, shorten
from zoo.noise import Noise
from zoo.training.phases import Phase, Step

FIRST_STEPS = 3  # run as they are, while libraries choose their kernels and `torch.compile` compiles

Terms = Mapping[str, Tensor]
Compute = Callable[[Phase, Step], Terms]
"""Computes the terms of a phase's loss, and the gradients of its module."""


class CUDAGraph:
    """A CUDA graph. Graphs of one `pool` share memory; they may use each other's results in the order of recording."""

    def __init__(self, pool: Any, stream: Any) -> None:
        self._graph, self._pool, self._stream = torch.cuda.CUDAGraph(), pool, stream

    def record(self, compute: Callable[[], Terms]) -> Terms:
        """Record what is computed without computing it. The result has its numbers after each `replay`."""
        before = torch.get_rng_state()
        # Other threads read data and write checkpoints meanwhile.
        with torch.cuda.graph(self._graph, self._pool, self._stream, capture_error_mode="thread_local"):
            terms = compute()
        if not torch.equal(torch.get_rng_state(), before):  # which no replay would do again
            raise RuntimeError("it draws random numbers on the CPU")
        return terms

    def replay(self) -> None:
        self._graph.replay()


class Recorder:
    """Makes the graphs of one device, on a stream of its own, as recording demands."""

    def __init__(self, device: torch.device) -> None:
        self._stream, self._pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run the block on the stream of the graphs, after all that was asked for before, and before what comes."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)

    def make_graph(self) -> CUDAGraph:
        return CUDAGraph(self._pool, self._stream)


class FixedNoise(Noise):
    """Random numbers of another stream, in the same tensors of the device in every step.

    The first step draws as it goes, and keeps the shapes. Before each later step, `refill` draws all its numbers.
    """

    def __init__(self, noise: Noise, device: torch.device) -> None:
        self._noise, self._device = noise, device
        self._draws: list[tuple[str, tuple[int, ...], Tensor]] = []
        self._next: int | None = None  # None while the shapes are learned

    def normal(self, n: int, *shape: int) -> Tensor:
        return self._take("normal", (n, *shape))

    def uniform(self, n: int, *shape: int) -> Tensor:
        return self._take("uniform", (n, *shape))

    def _take(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        if self._next is None:
            numbers = send(getattr(self._noise, kind)(*shape), self._device)
            self._draws.append((kind, shape, numbers))
            return numbers.clone()  # whoever changes them in place changes those of this step
        if self._next == len(self._draws) or self._draws[self._next][:2] != (kind, shape):
            raise RuntimeError("it draws other random numbers than in the step before")
        self._next += 1
        return self._draws[self._next - 1][2].clone()

    def refill(self) -> None:
        """Draw the numbers of the next step."""
        for kind, shape, numbers in self._draws:
            _fill(numbers, getattr(self._noise, kind)(*shape))
        self._next = 0


def _fill(fixed: Tensor, values: Tensor) -> None:
    """Copy values to a fixed tensor; a device is not waited for."""
    fixed.copy_(send(values, fixed.device), non_blocking=True)


class _Recorded:
    """The graphs of the steps with the same phases."""

    def __init__(self, step: Step) -> None:
        device = step.real.device
        self.noise = FixedNoise(step.noise, device)
        self._progress = torch.zeros(2, device=device)
        self._phases: dict[int, tuple[CUDAGraph, Terms, list[tuple[nn.Parameter, Tensor]]]] = {}  # by their ids
        # A number or share of the progress that decides what is computed cannot be recorded: as a tensor it says so.
        self.step = step.replace(
            real=step.real.clone(),
            labels=None if step.labels is None else step.labels.clone(),
            noise=self.noise,
            number=self._progress[0],
            kimg=self._progress[1],
        )

    def fill(self, step: Step) -> None:
        """Fill the fixed tensors with what a step has."""
        self.step.forget_fake()
        _fill(self.step.real, step.real)
        if self.step.labels is not None and step.labels is not None:
            _fill(self.step.labels, step.labels)
        _fill(self._progress, torch.tensor([step.number, step.kimg]))
        self.noise.refill()

    def run(self, phase: Phase, compute: Compute, recorder: Recorder) -> Terms:
        """Replay a phase; the first time, record it before."""
        if id(phase) not in self._phases:
            graph = recorder.make_graph()
            found = graph.record(lambda: compute(phase, self.step))
            self._phases[id(phase)] = (
                graph,
                {name: term.detach() for name, term in found.items()},
                [(p, p.grad) for p in phase.module.parameters() if p.grad is not None],
            )
        graph, terms, gradients = self._phases[id(phase)]
        graph.replay()
        phase.optimizer.zero_grad(set_to_none=True)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        return {name: term.clone() for name, term in terms.items()}  # the next replay overwrites them


class GraphedSteps:
    """Runs the phases of steps: a few as they are, then as CUDA graphs.

    Args:
        recorder: makes the graphs.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._recorded: dict[tuple[int, ...], _Recorded] = {}  # by the phases that are due; several may have one name
        self._num_steps = 0

    @contextmanager
    def follow(self, step: Step, due: Sequence[Phase], compute: Compute) -> Iterator[Callable[[Phase], Terms]]:
        """Yield what computes the phases of a step, one after the other, on the stream of the graphs.

        Raises InvalidValueError where a phase cannot be recorded: it reads a number of the device, or draws on the CPU.
        """
        phases = tuple(map(id, due))
        recorded, self._num_steps = self._recorded.get(phases), self._num_steps + 1
        with self._recorder.stream():
            if recorded is None or self._num_steps <= FIRST_STEPS:
                recorded = self._recorded[phases] = _Recorded(step)
                first = step.replace(noise=recorded.noise)
                yield lambda phase: compute(phase, first)
                return
            recorded.fill(step)

            def run(phase: Phase) -> Terms:
                try:
                    return recorded.run(phase, compute, self._recorder)
                except (RuntimeError, TypeError) as error:  # TypeError: of what takes no tensor for the progress
                    raise InvalidValueError(
                        f"train.cuda_graphs = true: phase {phase.name} of {type(step.gan).__name__} cannot be recorded "
                        f"({shorten(str(error).partition(chr(10))[0], 120)}); leave it out"
                    ) from error

            yield run
