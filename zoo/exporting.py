"""Models as ONNX files, for programs without torch: one file a network, compared with PyTorch before it is kept.

The file is of opset 18, whose operators most runtimes have. It takes noise as an input and draws none. Nothing of what
torch writes about the machine stays in it. What an app has to know of the model is in its metadata.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import InvalidValueError, MissingDependencyError, shorten
from zoo.gan import GAN, Graph
from zoo.io.atomic import replace_atomically
from zoo.io.weights import digest
from zoo.nn.fusion import fuse_norms
from zoo.registry import registry
from zoo.releases.loading import Release, find_source
from zoo.training.run import read_resolved_recipe

OPSET = 18
MOST_BYTES = (1 << 31) - 1  # of a protobuf message, and so of one file
TRACED_BATCH = 2  # samples that the exporter sees
TESTED_BATCHES = (3, 1)  # samples that the file is run with afterwards
RANDOM_OPERATORS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file, and how far it is from PyTorch."""

    path: Path
    inputs: Mapping[str, list[int | str]]
    """The shape of each input. A dimension of any size is its name; the first one is `batch`, or 1."""
    outputs: Mapping[str, list[int | str]]
    difference: float
    """The largest difference from PyTorch, in onnxruntime. Where an output has whole numbers, such as tokens, it is the
    share of them that differ. Where it has numbers above 1, it is relative to the largest."""
    rounding: float
    """The same for how much the rounding of weights to float16 changed PyTorch's own outputs; 0 without `half`."""
    batches: tuple[int, ...]
    """The numbers of samples that it was compared with."""

    def __str__(self) -> str:
        def describe(shapes: Mapping[str, list[int | str]]) -> str:
            return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items())

        batches = " and ".join(str(n) for n in sorted(self.batches))
        lines = [
            f"{self.path}: {self.path.stat().st_size / 1e6:.1f} MB",
            f"{describe(self.inputs)} -> {describe(self.outputs)}",
            f"onnxruntime differs from PyTorch by {self.difference:.1e} at most, in batches of {batches}",
        ]
        if self.rounding:
            lines.append(f"the rounding of weights to float16 changes outputs by {self.rounding:.1e} at most")
        if self.batches == (1,):
            lines.append("it takes one sample at a time: torch cannot leave the number open for this network")
        return "\n".join(lines)


def export(
    name: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    discriminator: bool = False,
    half: bool = False,
) -> Exported:
    """Write a model as an ONNX file, and compare it with PyTorch in onnxruntime.

    Args:
        name: what `zoo.load` takes.
        out: the file, ending in .onnx. A file that is there is replaced.
        discriminator: write the discriminator, instead of the generator.
        half: store matrices and kernels in float16, in half the bytes. They are computed with in float32.

    Raises:
        InvalidValueError: a network that cannot be exported, or that onnxruntime computes otherwise, and why.
        MissingDependencyError: the extra `export` is not installed.
        WriteError: the file cannot be written.
        Others as `zoo.load`.
    """
    path = Path(out).expanduser()
    if path.suffix != ".onnx":
        raise InvalidValueError(f"{path}: the name of the file should end in .onnx")
    _check_packages()
    source = find_source(name)
    gan = source.load() if isinstance(source, Release) else source.load()[0]
    network = "discriminator" if discriminator else "generator"
    if not hasattr(gan, network):
        raise InvalidValueError(f"{os.fspath(name)}: {type(gan).__name__} has no {network} here; leave it out")
    prepare = gan.prepare_discriminator_export if discriminator else gan.prepare_export
    facts = _describe_model(os.fspath(name), gan, source, network)
    try:
        return write_model(prepare, path, half=half, facts=facts)
    except InvalidValueError as error:
        raise InvalidValueError(f"{os.fspath(name)}: the {network} cannot be exported: {error}") from error


def write_model(
    prepare: Callable[[int, int], Graph], path: Path, *, half: bool = False, facts: Mapping[str, str] | None = None
) -> Exported:
    """Write what `prepare(n, seed)` returns as an ONNX file with `facts` as its metadata, and compare it with PyTorch.

    Raises as `export`.
    """
    graph = prepare(TRACED_BATCH, 0)
    exact, module = fuse_norms(graph.module), fuse_norms(graph.module)
    if half:
        _round_weights(module)
    model, batches = _trace(graph, module)
    _check_operators(model)
    _clear_notes(model)
    _name_dimensions(model, graph)
    if half:
        _store_in_float16(model)
    for key, value in {**(facts or {}), **({"usage": graph.usage} if graph.usage else {})}.items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > MOST_BYTES:
        raise InvalidValueError(f"it has {model.ByteSize():,} bytes, and one file holds at most {MOST_BYTES:,}")
    content = model.SerializeToString(deterministic=True)
    run = _open_session(content)
    difference = rounding = 0.0
    for n in batches:
        tested = prepare(n, n)
        with torch.no_grad():
            wanted, unrounded = (_as_tuple(each(*tested.inputs.values())) for each in (module, exact))
        difference = max(difference, *map(_compare, run(tested.inputs), wanted))
        rounding = max(rounding, *map(_compare, wanted, unrounded))
    if difference > graph.tolerance:
        raise InvalidValueError(
            f"onnxruntime differs from PyTorch by {difference:.1e}, and {graph.tolerance:.0e} is the most"
        )
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)
    inputs, outputs = (
        {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values}
        for values in (model.graph.input, model.graph.output)
    )
    return Exported(
        path=path, inputs=inputs, outputs=outputs, difference=difference, rounding=rounding, batches=batches
    )


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"an export needs the package {error.name}: pip install 'gan-zoo[export]'"
        ) from None


def _describe_model(name: str, gan: GAN, source: Any, network: str) -> dict[str, str]:
    """Describe a model for those who only have the file. No path of this machine is in it."""
    if isinstance(source, Release):
        path = source.folder / "recipe.toml"
        recipe = read_resolved_recipe(path) if path.is_file() else None
        sha256 = digest(source.folder / f"{network}.safetensors")
    else:
        recipe, sha256 = source.recipe, ""
    public = name if name in registry.entries or not Path(name).expanduser().exists() else Path(name).resolve().name
    facts = {
        "library": f"gan-zoo {version('gan-zoo')}",
        "entry": public,
        "network": network,
        "architecture": type(gan).__name__,
        "sha256": sha256,  # of the weight file
        "license": recipe.license if recipe is not None and recipe.data.name else "",
        "config": asdict(gan.config),
        **gan.describe_samples(),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items() if value != ""}


def _trace(graph: Graph, module: nn.Module) -> tuple[Any, tuple[int, ...]]:
    """Export a module for any batch, or else for a batch of 1; returns the model and the batches to test."""
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import remove_optional_bias_from_conv_rule as no_bias
    from onnxscript.rewriter.rules.common import remove_optional_bias_from_conv_transpose_rule as no_bias_transposed

    inputs = tuple(graph.inputs.values())
    with torch.no_grad():
        module(*inputs)  # a network that refuses its inputs says why here
    free = tuple({i: torch.export.Dim(d) for i, d in graph.free.get(name, {}).items()} for name in graph.inputs)
    shapes = tuple({0: torch.export.Dim("batch"), **sizes} for sizes in free)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            # `torch.onnx.export` alone would fix a batch that it cannot leave open, and say nothing.
            program = torch.export.export(module, inputs, dynamic_shapes=shapes)
            batches: tuple[int, ...] = TESTED_BATCHES
        except Exception:
            one, batches = tuple(value[:1] for value in inputs), (1,)
            try:
                program = torch.export.export(module, one, dynamic_shapes=free)
            except Exception as error:
                raise InvalidValueError(f"torch cannot trace it: {shorten(str(error), 300)}") from error
        try:
            made = torch.onnx.export(
                program,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
            assert made is not None
            # Torch's own choice of optimizations would take an epsilon of 1e-8 for 0, and drop it. These are those that
            # files need. The rules remove biases of 0, to which torch gives a wrong shape in 3-D convolutions.
            optimizer.inline(made.model)
            optimizer.fold_constants(made.model)
            rewriter.rewrite(made.model, [no_bias, no_bias_transposed])
            optimizer.remove_unused_nodes(made.model)
            model = made.model_proto
        except Exception as error:
            raise InvalidValueError(f"torch cannot write it as ONNX: {shorten(str(error), 300)}") from error
    return model, batches


def _check_operators(model: Any) -> None:
    opset = next(each.version for each in model.opset_import if not each.domain)
    if opset != OPSET:
        raise InvalidValueError(f"it needs operators of opset {opset}, and files have {OPSET}")
    drawing = {message.op_type for message in _walk(model) if getattr(message, "op_type", "") in RANDOM_OPERATORS}
    if drawing:
        raise InvalidValueError(
            f"it draws random numbers ({', '.join(sorted(drawing))}); a network that is exported takes them as input"
        )


def _walk(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all messages in it."""
    yield message
    for kind, value in message.ListFields():
        if kind.message_type is not None:
            for inner in value if kind.is_repeated else [value]:
                yield from _walk(inner)


def _clear_notes(model: Any) -> None:
    """Delete the notes that the exporter leaves at each node, such as the path and line of its source."""
    for message in _walk(model):
        for note in ("metadata_props", "doc_string"):
            if note in message.DESCRIPTOR.fields_by_name:
                message.ClearField(note)
    del model.graph.value_info[:]  # shapes of what lies between; a runtime infers them


def _name_dimensions(model: Any, graph: Graph) -> None:
    """Name the sizes that may vary: the exporter has names of its own for them."""
    names = {}
    for value in model.graph.input:
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                names[dim.dim_param] = {0: "batch", **graph.free.get(value.name, {})}[i]
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)


@torch.no_grad()
def _round_weights(module: nn.Module) -> None:
    """Round the matrices and kernels of a module to what float16 can hold."""
    for value in (*module.parameters(), *module.buffers()):
        if value.dtype == torch.float32 and value.dim() > 1 and (rounded := value.half().float()).isfinite().all():
            value.copy_(rounded)


def _store_in_float16(model: Any) -> None:
    """Store matrices and kernels as float16 where no number changes, and convert them to float32 at the start."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        numbers, name = numpy_helper.to_array(tensor), tensor.name
        with np.errstate(over="ignore"):
            short = numbers.astype(np.float16)
        if np.array_equal(short.astype(np.float32), numbers):
            tensor.CopyFrom(numpy_helper.from_array(short, f"{name}.float16"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _open_session(content: bytes) -> Callable[[Mapping[str, Tensor]], list[Tensor]]:
    """Open an ONNX file in onnxruntime; returns a function that computes its outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # fatal: what fails is raised, too

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        try:
            outputs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        except Exception as error:  # onnxruntime's own classes have no common base
            raise InvalidValueError(f"onnxruntime cannot run it: {shorten(str(error), 300)}") from error
        return [torch.from_numpy(output) for output in outputs]

    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidValueError(f"onnxruntime cannot open it: {shorten(str(error), 300)}") from error
    return run


def _as_tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def _compare(found: Tensor, wanted: Tensor) -> float:
    """Compute how far an output is from the wanted one, as `Exported.difference` says; infinity for NaN."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return math.inf
    same = found == wanted  # infinities, too
    if not wanted.is_floating_point() or bool((wanted == wanted.round()).all()):
        return float((~same).float().mean())
    difference = float(torch.where(same, 0, (found - wanted).abs()).max())
    largest = float(wanted.nan_to_num(0, 0, 0).abs().max())
    return difference / max(1.0, largest) if math.isfinite(difference) else math.inf
