"""`zoo export`: ONNX files that compute what PyTorch does, of every released entry; others are refused."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.releases import write_model
from torch import Tensor, nn

import zoo
from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.exporting import RANDOM_OPERATORS, Exported, export
from zoo.exporting import write_model as write_onnx
from zoo.gan import Graph
from zoo.io.weights import read_sums
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.registry import registry
from zoo.text.gan import PolicyGAN

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RELEASED = registry.names(pretrained=True)
ROOT = Path(zoo.__file__).parents[1]


@dataclass(frozen=True)
class File:
    """An exported file, opened."""

    made: Exported
    model: Any
    session: Any

    @property
    def facts(self) -> dict[str, str]:
        return self.session.get_modelmeta().custom_metadata_map

    def run(self, **inputs: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in self.session.run(None, {k: v.numpy() for k, v in inputs.items()})]


def open_file(made: Exported) -> File:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.path, options, providers=["CPUExecutionProvider"])
    return File(made, onnx.load(made.path), session)


@pytest.fixture(scope="session", params=RELEASED)
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    """The generator of each released entry, exported once."""
    return open_file(export(request.param, tmp_path_factory.mktemp("export") / "generator.onnx"))


def list_operators(graph: Any) -> set[str]:
    """List the operators of a graph, and of the graphs in its nodes."""
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return {node.op_type for node in graph.node}.union(*map(list_operators, inner))


def test_every_released_generator_is_exported_for_any_batch(generator: File):
    """In onnxruntime each differs from PyTorch by 1e-4 at most, in batches of 1 and 3."""
    assert generator.made.difference <= 1e-4
    assert sorted(generator.made.batches) == [1, 3]
    assert all(shape[0] == "batch" for shape in {**generator.made.inputs, **generator.made.outputs}.values())
    onnx.checker.check_model(generator.model)


def test_the_file_is_of_opset_18_and_draws_no_noise(generator: File):
    """Every file has one set of operators, and the noise comes from outside."""
    assert [(each.domain, each.version) for each in generator.model.opset_import if not each.domain] == [("", 18)]
    assert not list_operators(generator.model.graph) & RANDOM_OPERATORS
    assert not any(tensor.external_data for tensor in generator.model.graph.initializer)


def test_the_file_names_no_place_on_the_machine_that_wrote_it(generator: File):
    """No path, source line or trace of the author is among the bytes."""
    content = generator.made.path.read_bytes()

    places = [ROOT, Path(torch.__file__).parents[1], generator.made.path.parent, Path.home(), Path.cwd()]
    for place in [bytes(path) for path in places if len(path.parts) > 1] + [b".py", b"site-packages", b"stack_trace"]:
        assert place not in content, place


def test_the_metadata_say_what_an_app_needs(generator: File):
    """Entry, digest, license, kind of samples, range, rate, classes and tokens are those of the released weights."""
    facts = generator.facts
    entry = registry.entries[facts["entry"]]
    model = zoo.load(entry.name, device="cpu")

    assert facts["network"] == "generator"
    assert facts["license"] == entry.license
    assert (
        facts["sha256"]
        == read_sums(entry.bundled)["generator.safetensors"]
        == entry.weights.sha256["generator.safetensors"]
    )
    assert facts["samples"] == type(model.sample(1, seed=0)).__name__.lower()
    low, high = json.loads(facts["range"])
    assert (low, high) == ((0, model.config.vocabulary - 1) if entry.modality == "text" else (-1, 1))
    assert json.loads(facts.get("rate", "null")) == getattr(model.config, "rate", None)
    assert json.loads(facts.get("classes", "[]")) == list(getattr(model, "labels", ()))
    if entry.modality == "text":
        assert json.loads(facts["tokens"]) == model.vocabulary.tokens


def test_a_file_makes_the_samples_of_a_seed(generator: File):
    """From the latents of `zoo sample --seed 5`, the file makes its samples."""
    model = zoo.load(generator.facts["entry"], device="cpu")
    if isinstance(model, PolicyGAN) or "usage" in generator.facts:
        return
    samples = model.sample(2, seed=5)

    (found,) = generator.run(latents=samples.latents)

    torch.testing.assert_close(found, samples.tensor, rtol=0, atol=1e-4)


def test_texts_are_written_step_by_step(generator: File):
    """From zeros and the start token, the steps of the file write the texts of `zoo sample --seed 5`."""
    model = zoo.load(generator.facts["entry"], device="cpu")
    if not isinstance(model, PolicyGAN):
        return
    alone = {"candidates": 1} if "candidates" in model.SampleOptions.flags() else {}
    texts = model.sample(4, seed=5, **alone).tensor
    drawn = model.sample(4, seed=5, **alone).latents
    assert drawn is not None
    uniforms = drawn[:, 0] if drawn.dim() == 3 else drawn  # of the only candidate
    token = torch.zeros(4, dtype=torch.long)
    state_input = next(each for each in generator.session.get_inputs() if each.name == "state")
    kind = torch.long if state_input.type == "tensor(int64)" else torch.float32
    state = torch.zeros(4, *state_input.shape[1:], dtype=kind)
    written = []
    for t in range(texts.shape[1]):
        logits, state = generator.run(token=token, state=state)
        sums = logits.double().softmax(1).cumsum(1)
        token = (sums <= sums[:, -1:] * uniforms[:, t : t + 1]).sum(1)
        written.append(token)

    found = torch.stack(written, dim=1)
    same = ((found == texts) | (texts.cumprod(1) == 0)).all(1)
    assert same.sum() >= 3  # a rounding may choose another token, and all that follow are others then


@pytest.mark.parametrize(
    ("name", "inputs", "batches"),
    [
        ("video-mocogan-shapes", {"samples"}, [1, 3]),  # its convolutions have three dimensions and no bias
        ("video-styleganv", {"samples"}, [1]),  # it compares the samples of a batch
    ],
)
def test_discriminators_are_exported(name: str, inputs: set[str], batches: list[int], tmp_path: Path):
    """A discriminator gets samples, and their classes where it knows some; the result says what batches it takes."""
    made = export(name, tmp_path / "d.onnx", discriminator=True)

    assert made.difference <= 1e-4
    assert set(made.inputs) == inputs
    assert sorted(made.batches) == batches
    assert made.outputs["logits"] == (["batch"] if len(batches) > 1 else [1])
    assert ("one sample at a time" in str(made)) == (batches == [1])


def test_half_stores_weights_in_half_the_bytes(tmp_path: Path):
    """With half, matrices are float16 in the file, all else computes in float32, and what it changes is stated."""
    torch.manual_seed(0)
    gan = load_recipe("faces-dcgan", ["model.width=8"]).build().eval()
    whole, half = (write_onnx(gan.prepare_export, tmp_path / f"{half}.onnx", half=half) for half in (False, True))

    assert half.path.stat().st_size < 0.6 * whole.path.stat().st_size
    assert half.difference <= 1e-4
    assert whole.rounding == 0 < half.rounding
    assert "rounding" in str(half)
    file = open_file(half)
    assert {t.data_type for t in file.model.graph.initializer if len(t.dims) > 1} == {onnx.TensorProto.FLOAT16}
    assert [each.type for each in (*file.session.get_inputs(), *file.session.get_outputs())] == ["tensor(float)"] * 2
    casts = [node for node in file.model.graph.node if node.op_type == "Cast"]
    assert {a.i for node in casts for a in node.attribute if a.name == "to"} == {onnx.TensorProto.FLOAT}


def test_half_changes_nothing_that_was_released_in_float16(tmp_path: Path):
    """Matrices whose numbers float16 holds are stored so without any rounding."""
    half = export("faces-gan", tmp_path / "half.onnx", half=True)

    assert half.rounding == 0
    assert half.path.stat().st_size < 0.6 * 4 * sum(p.numel() for p in zoo.load("faces-gan").generator.parameters())


@pytest.mark.parametrize(
    ("name", "small", "inputs", "batches"),
    [
        (
            "faces-stylegan2",
            ["model.channel_max=8", "model.resolution=8", "model.labels=3"],
            {"samples", "labels"},
            [1],
        ),
        ("text-scratchgan", ["model.length=4"], {"samples"}, [1, 3]),
        ("video-tgan", [], {"samples"}, [1, 3]),
    ],
)
def test_untrained_models_are_exported(
    name: str, small: list[str], inputs: set[str], batches: list[int], tmp_path: Path
):
    """Architectures without weights are exported, too: generators for any batch, discriminators with known classes."""
    torch.manual_seed(0)
    gan = load_recipe(name, small).build().eval()

    generator = write_onnx(gan.prepare_export, tmp_path / "g.onnx")
    discriminator = write_onnx(gan.prepare_discriminator_export, tmp_path / "d.onnx")

    assert sorted(generator.batches) == [1, 3]
    assert set(discriminator.inputs) == inputs
    assert sorted(discriminator.batches) == batches


class Layer(nn.Module):
    """A module that computes what a test says."""

    def __init__(self, compute: Any) -> None:
        super().__init__()
        self.compute, self.weight = compute, nn.Parameter(torch.eye(4))

    def forward(self, x: Tensor) -> Any:
        return self.compute(x @ self.weight)


def graph_of(compute: Any, *, zeros: bool = False) -> Any:
    layer = Layer(compute)
    return lambda n, seed: Graph(
        module=layer, inputs={"latents": torch.zeros(n, 4) if zeros else Noise(seed).normal(n, 4)}
    )


def test_a_network_that_draws_noise_is_refused(tmp_path: Path):
    """A file whose operators draw random numbers is not written; the message names them."""
    with pytest.raises(InvalidValueError, match=r"draws random numbers \(RandomNormal"):
        write_onnx(graph_of(lambda x: x + torch.randn_like(x)), tmp_path / "m.onnx")

    assert not list(tmp_path.iterdir())


def test_a_batch_that_the_exporter_would_fix_is_stated(tmp_path: Path):
    """A network that reads the number of its samples is exported for one sample, and says so, instead of for two."""
    made = write_onnx(graph_of(lambda x: x / len(x)), tmp_path / "m.onnx")

    assert made.inputs == {"latents": [1, 4]}
    assert "one sample at a time" in str(made)


def test_a_small_epsilon_is_kept(tmp_path: Path):
    """Rows of zeros are normalized to zeros, not to NaN: an epsilon of 1e-8 is not taken for zero."""
    write_onnx(
        graph_of(lambda x: x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt(), zeros=True), tmp_path / "m.onnx"
    )

    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert np.array_equal(session.run(None, {"latents": np.zeros((5, 4), np.float32)})[0], np.zeros((5, 4)))


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_a_file_that_computes_something_else_is_not_written(wrong: float, tmp_path: Path):
    """Where onnxruntime differs from PyTorch, or has NaN, the file that was there before stays."""
    (tmp_path / "m.onnx").write_bytes(b"before")
    exporting = torch.compiler.is_exporting

    with pytest.raises(InvalidValueError, match="differs from PyTorch"):
        write_onnx(graph_of(lambda x: x * wrong if exporting() else x), tmp_path / "m.onnx")

    assert (tmp_path / "m.onnx").read_bytes() == b"before"


def test_a_network_that_torch_cannot_trace_is_refused_with_its_reason(tmp_path: Path):
    """The message says that torch cannot trace it, and why."""
    with pytest.raises(InvalidValueError, match="torch cannot trace it: "):
        write_onnx(graph_of(lambda x: x if float(x.sum()) > 0 else -x), tmp_path / "m.onnx")


def test_two_exports_have_equal_bytes(tmp_path: Path):
    """The bytes of a file depend on the weights alone."""
    first, second = (export("faces-gan", tmp_path / f"{name}.onnx").path.read_bytes() for name in ("a", "b"))

    assert first == second


def test_a_folder_is_exported_under_its_own_name(tmp_path: Path, command):
    """`zoo export FOLDER` works as `zoo load`; the file has the folder's name, not its path."""
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-dcgan", ["model.width=4"]), tmp_path / "mine")

    code, output, errors = command("export", folder, "--out", tmp_path / "new" / "mine.onnx")

    assert code == 0, errors
    assert "latents [batch, 100] -> samples [batch, 3, 64, 64]" in output
    assert "differs from PyTorch by" in output
    file = open_file(
        Exported(path=tmp_path / "new" / "mine.onnx", inputs={}, outputs={}, difference=0, rounding=0, batches=())
    )
    assert file.facts["entry"] == "mine"
    assert bytes(tmp_path) not in file.made.path.read_bytes()


def test_a_run_is_exported(run: Path, tmp_path: Path, command):
    """`zoo export RUN` takes the newest checkpoint."""
    code, output, errors = command("export", run, "--out", tmp_path / "run.onnx")

    assert code == 0, errors
    assert "samples [batch, 3, 64, 64]" in output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["faces-dcgan", "--out", "faces.pt2"], "should end in .onnx"),
        (["text-mle", "--out", "d.onnx", "--discriminator"], "has no discriminator"),
        (["faces-dcgn", "--out", "g.onnx"], 'Did you mean "faces-dcgan"'),
    ],
)
def test_mistakes_are_one_clear_line(command, arguments: list[str], hint: str, tmp_path: Path, monkeypatch):
    """A wrong name, suffix or network is one line, and no file is left."""
    monkeypatch.chdir(tmp_path)

    code, _, errors = command("export", *arguments)

    assert code == 2
    assert hint in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_entry_without_weights_is_not_exported(unreleased: str, command, tmp_path: Path):
    """One line, and no file."""
    code, _, errors = command("export", unreleased, "--out", tmp_path / "g.onnx")

    assert code == 2
    assert "no released weights" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_one_line_with_its_command(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without the extra, the error names the package and how to install it."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingDependencyError, match=rf"{package}: pip install 'gan-zoo\[export\]'"):
        export("faces-dcgan", tmp_path / "g.onnx")
