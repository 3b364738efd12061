"""The game of docs/toy.md: its JavaScript computes what PyTorch computes, and its presets show what they say."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.training.losses import LOSSES
from zoo.training.report import measure_diversity

DOCS = Path(__file__).parents[1] / "docs"
STEPS = 5
TOLERANCE = 1e-5

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed; it runs the JavaScript")


def run_node(script: str, given: Any = None) -> Any:
    """Run an ES module that has the maths as `game` and what is given as `given`, and read the JSON that it prints."""
    module = (DOCS / "toy" / "game.js").as_uri()
    header = f"import * as game from {json.dumps(module)};\nconst given = JSON.parse(process.argv[1]);\n"
    command = ["node", "--input-type=module", "-e", header + script, "--", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def build_network(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, dtype=torch.float64), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def list_values(network: nn.Module) -> list[list[float]]:
    return [parameter.detach().flatten().tolist() for parameter in network.parameters()]


def list_gradients(network: nn.Module) -> list[list[float]]:
    return [parameter.grad.flatten().tolist() for parameter in network.parameters() if parameter.grad is not None]


def train_torch(
    networks: dict[str, nn.Sequential], options: dict[str, Any], batches: list[tuple[Tensor, Tensor]]
) -> list[dict[str, Any]]:
    """Train both networks as the library does, and note losses, gradients and weights of each step."""
    loss, g, d = LOSSES[options["loss"]], networks["generator"], networks["discriminator"]
    g_adam = torch.optim.Adam(g.parameters(), lr=options["lrG"], betas=options["betas"])
    d_adam = torch.optim.Adam(d.parameters(), lr=options["lrD"], betas=options["betas"])
    found = []
    for step, (real, latents) in enumerate(batches):
        fake, now = g(latents), {}
        if step % options["intervalD"] == 0:
            value = loss.discriminator(d(real)[:, 0], d(fake.detach())[:, 0])
            d_adam.zero_grad()
            value.backward()
            now |= {"lossD": value.item(), "gradientsD": list_gradients(d)}
            d_adam.step()
        if step % options["intervalG"] == 0:
            value = loss.generator(d(fake)[:, 0])
            g_adam.zero_grad()
            value.backward()
            now |= {"lossG": value.item(), "gradientsG": list_gradients(g)}
            g_adam.step()
        found.append(now | {"generator": list_values(g), "discriminator": list_values(d)})
    return found


TRAIN = """
const play = new game.Game(given.options);
for (const name of ["generator", "discriminator"]) {
  play[name].parameters().forEach((parameter, i) => parameter.value.set(given[name][i]));
}
const list = (network, what) => network.parameters().map((parameter) => Array.from(parameter[what]));
const { generator: G, discriminator: D } = play;
const steps = given.batches.map(([real, latents]) => {
  // D's gradients of its own update are gone once G has learned, so they are noted when Adam takes them
  const taken = {};
  for (const [name, adam, network] of [["gradientsG", play.optimizerG, G], ["gradientsD", play.optimizerD, D]]) {
    adam.step = () => {
      taken[name] = list(network, "gradient");
      game.Adam.prototype.step.call(adam);
    };
  }
  const found = play.step(Float64Array.from(real), Float64Array.from(latents));
  return { ...found, ...taken, generator: list(G, "value"), discriminator: list(D, "value") };
});
console.log(JSON.stringify(steps));
"""


@needs_node
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "non_saturating", "lrG": 1e-3, "lrD": 2e-3, "betas": [0.5, 0.9], "intervalG": 1, "intervalD": 1},
        {"loss": "minimax", "lrG": 1e-2, "lrD": 1e-3, "betas": [0.9, 0.999], "intervalG": 2, "intervalD": 1},
        {"loss": "non_saturating", "lrG": 1e-3, "lrD": 1e-2, "betas": [0.0, 0.9], "intervalG": 1, "intervalD": 2},
    ],
    ids=["non-saturating", "minimax", "slow discriminator"],
)
def test_the_browser_s_game_is_pytorch_s(options: dict[str, Any]):
    """From equal weights and batches, losses, gradients and weights agree after every step of Adam."""
    torch.manual_seed(0)
    networks = {"generator": build_network(2, 16, 16, 2), "discriminator": build_network(2, 16, 16, 1)}
    batches = [(torch.randn(8, 2, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)) for _ in range(STEPS)]
    given = {
        "options": options | {"width": 16},
        "batches": [[part.flatten().tolist() for part in batch] for batch in batches],
        **{name: list_values(network) for name, network in networks.items()},
    }

    expected = train_torch(networks, options, batches)
    computed = run_node(TRAIN, given)

    for step, (ours, theirs) in enumerate(zip(computed, expected, strict=True)):
        for name, value in theirs.items():
            for mine, other in zip(flatten(ours[name]), flatten(value), strict=True):
                assert mine == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE), (step, name)
        for network in ("G", "D"):
            if f"gradients{network}" in theirs:
                norm = math.sqrt(sum(x * x for x in flatten(theirs[f"gradients{network}"])))
                assert ours[f"norm{network}"] == pytest.approx(norm, rel=TOLERANCE)
        if "lossD" in theirs:
            assert ours["advantage"] == pytest.approx(1 - theirs["lossD"] / math.log(4), rel=TOLERANCE)


def flatten(value: Any) -> list[float]:
    return [number for part in value for number in flatten(part)] if isinstance(value, list) else [value]


@needs_node
def test_the_browser_s_diversity_is_the_report_s():
    """The page and the training report measure diversity alike."""
    torch.manual_seed(0)
    fake, real = torch.randn(9, 2, dtype=torch.float64), 3 * torch.randn(7, 2, dtype=torch.float64)
    given = [fake.flatten().tolist(), real.flatten().tolist()]

    computed = run_node("console.log(game.measureDiversity(...given));", given)

    assert computed == pytest.approx(measure_diversity(fake, real), rel=TOLERANCE)


@needs_node
def test_the_real_points_lie_on_the_ring():
    """All modes get points, and a mode's deviation is what the page's code says."""
    points = run_node("""
        const points = game.makeReal(4000, game.makeNoise(0));
        const latents = game.makeLatents(4000, game.makeNoise(1));
        const counts = game.countModes(points);
        console.log(JSON.stringify({ counts, latents: Array.from(latents), points: Array.from(points) }));
    """)
    latents = torch.tensor(points["latents"])
    radii = torch.tensor(points["points"]).view(-1, 2).norm(dim=1)

    assert min(points["counts"]) > 400
    assert sum(points["counts"]) > 3900
    assert latents.mean().abs() < 0.05
    assert (latents.std() - 1).abs() < 0.05
    assert (radii.std() - 0.1).abs() < 0.01


PRESETS = """
const noise = game.makeNoise(1);
const latents = game.makeLatents(256, noise);
const real = game.makeReal(256, noise);
const play = new game.Game({ ...game.PRESETS[given.preset], ...given.options }, given.seed);
const found = { diversity: [], modes: [], advantage: [], normG: [] };
for (let step = 1; step <= given.steps; step++) {
  const now = play.step();
  for (const name of ["advantage", "normG"]) if (name in now) found[name].push(now[name]);
  if (step % 50) continue;
  const points = play.generator.forward(latents);
  found.diversity.push(game.measureDiversity(points, real));
  found.modes.push(game.countModes(points).filter((count) => count >= 8).length);
}
console.log(JSON.stringify(found));
"""


def play_preset(preset: str, steps: int, **options: Any) -> dict[str, list[float]]:
    return run_node(PRESETS, {"preset": preset, "steps": steps, "seed": 0, "options": options})


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@needs_node
def test_balance_finds_most_modes():
    """The preset finds more than half of the modes within 1,200 steps, and its points are as varied as the data."""
    found = play_preset("balance", 1200)

    assert found["modes"][-1] > 4
    assert found["diversity"][-1] == pytest.approx(1, abs=0.1)


@needs_node
def test_starve_takes_the_generator_s_gradient_and_the_other_loss_gives_it_back():
    """With the minimax loss the gradient vanishes while D always knows; with the non-saturating loss it does not."""
    starved, fed = play_preset("starve", 400), play_preset("starve", 400, loss="non_saturating")

    assert mean(starved["advantage"][-50:]) > 0.99
    assert starved["normG"][-1] < 1e-3 < 0.1 < fed["normG"][-1]
    assert starved["diversity"][-1] < 0.1


@needs_node
def test_collapse_looks_like_success_to_the_advantage():
    """The points gather in one place, while the advantage is as near to 0 as at equilibrium."""
    found = play_preset("collapse", 1600)

    assert mean(found["diversity"][-8:]) < 0.6
    assert found["modes"][-1] <= 1
    assert abs(mean(found["advantage"][-50:])) < 0.1


@needs_node
def test_oscillate_swings():
    """The points are too narrow and too wide by turns."""
    found = play_preset("oscillate", 800)["diversity"][4:]

    assert min(found) < 0.5
    assert max(found) > 0.75
    assert sum(abs(b - a) > 0.25 for a, b in pairwise(found)) >= 4


class Controls(HTMLParser):
    """Collects the ids of a page, and the controls that no label names."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.labels: set[str] = set()
        self.unnamed: list[str] = []
        self._in_label = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids.add(named.get("id") or "")
        if tag == "label":
            self._in_label = True
            self.labels.add(named.get("for") or "")
        if tag in ("select", "input") and not self._in_label and named.get("id") not in self.labels:
            self.unnamed.append(str(named))
        if tag == "canvas" and "aria-label" not in named:
            self.unnamed.append(str(named))

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._in_label = False


@needs_node
def test_every_control_of_the_page_has_a_name_and_every_preset_is_offered():
    """A screen reader finds a label at each control, and the script finds each element that it asks for."""
    page, script = ((DOCS / name).read_text(encoding="utf-8") for name in ("toy.md", "toy/page.js"))
    controls = Controls()
    controls.feed(page)

    assert controls.unnamed == []
    asked_for = {
        *re.findall(r'find\("([\w-]+)"\)', script),
        "step-1",
        "step-100",
        "lrG",
        "lrD",
        "intervalG",
        "intervalD",
    }
    assert {f"toy-{name}" for name in asked_for} <= controls.ids
    for preset in run_node("console.log(JSON.stringify(Object.keys(game.PRESETS)));"):
        assert f'<option value="{preset}">' in page
        assert f"**{preset}.**" in page
    assert "document" not in (DOCS / "toy" / "game.js").read_text(encoding="utf-8")
    assert 'src="../toy/page.js"' in page
    assert "http" not in script


PAGE = """
const elements = {};
const context = new Proxy({ drawn: 0 }, { get: (to, name) => (name === "drawn" ? to.drawn : () => to.drawn++) });
const make = () => ({
  value: "", textContent: "", width: 480, listeners: {}, attributes: {}, getContext: () => context,
  addEventListener(kind, listener) { this.listeners[kind] = listener; },
  setAttribute(name, value) { this.attributes[name] = value; },
  reportValidity() { return this.value !== "wrong"; },
});
globalThis.document = { getElementById: (id) => (elements[id] ??= make()) };
let waiting;
globalThis.requestAnimationFrame = (frame) => (waiting = frame);
const [find, show] = [(name) => document.getElementById(`toy-${name}`), () => find("steps").textContent];
find("preset").value = "starve";
find("seed").value = "0";
await import(given);
const shown = [find("loss").value, show(), find("report").textContent];
for (let i = 0; i < 6; i++) find("step-100").listeners.click();
shown.push(show(), find("report").textContent, find("canvas").attributes["aria-label"].slice(0, 9));
find("run").listeners.click();
shown.push(find("run").textContent, find("report").textContent.startsWith("The training runs."));
waiting();
shown.push(show() > 600);
find("run").listeners.click();
shown.push(find("run").textContent);
find("loss").value = "non_saturating";
find("loss").listeners.change();
shown.push(show(), context.drawn > 0);
find("step-1").listeners.click();
find("lrG").value = "wrong";
find("lrG").listeners.change();
shown.push(show());
console.log(JSON.stringify(shown));
"""


@needs_node
def test_the_page_s_controls_do_what_they_say():
    """Presets set the controls, buttons train and pause, a valid setting starts again; on a stand-in for a page."""
    shown = run_node(PAGE, (DOCS / "toy" / "page.js").as_uri())

    assert shown[:3] == ["minimax", 0, "After 0 steps it is too early to say how the training goes."]
    assert shown[3] == 600
    assert shown[4].startswith("The discriminator is nearly always right. The generator starves")
    assert shown[5] == "Step 600."
    assert shown[6:] == ["Pause", True, True, "Run", 0, True, 1]
