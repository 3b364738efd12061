"""A page on this machine that samples entries in the browser: `zoo demo`, and the files of a Hugging Face Space.

The page gets names of a fixed list, and numbers within limits. It never gets a path.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from zoo.errors import InvalidValueError, MissingDependencyError, NotFoundError, WriteError, ZooError
from zoo.gan import GAN, choose_seed
from zoo.io.atomic import replace_atomically
from zoo.recipe import load_recipe
from zoo.registry import MODALITIES, registry
from zoo.releases.loading import Release, find_source, is_local_path, load
from zoo.samples import Samples, visible_scale

MAX_FRAMES = 128
MAX_SEED = 2**32 - 1
KEPT_SECONDS = 3600  # how long a file stays that was made for a download
KEPT_MODELS = 4

# What Gradio's defaults leave open: a public address, uploads of any size, a server that renders, an agent's interface.
LAUNCH: dict[str, Any] = {
    "share": False,
    "allowed_paths": [],
    "max_file_size": "20mb",
    "ssr_mode": False,
    "mcp_server": False,
    "quiet": True,
}
BUTTONS = ["download", "fullscreen"]  # not "share", which sends the file to huggingface.co
QUEUE = {"max_size": 20, "default_concurrency_limit": 1}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of samples: a text, and paths of files. None is hidden."""

    text: str | None = None
    picture: str | None = None
    sound: str | None = None
    file: str
    """What can be downloaded."""
    said: str


class Demo:
    """The models of a page, and what its buttons do.

    Args:
        names: what `zoo.load` takes, or none for all entries with weights.
        device: where samples are computed.

    Raises as `zoo.load` for a name that cannot be loaded.
    """

    def __init__(self, names: Sequence[str] = (), *, device: str = "auto") -> None:
        self.modalities: dict[str, str] = {}
        """The modality of each name."""
        for name in names or [name for name, entry in registry.entries.items() if entry.has_weights]:
            self.modalities[name] = _find_modality(name)
        self._folder = tempfile.TemporaryDirectory(prefix="gan-zoo-demo-")
        self._load = lru_cache(maxsize=KEPT_MODELS)(lambda name: load(name, device=device))

    def model(self, name: str) -> GAN:
        """Load one of the demo's models. Raises NotFoundError for any other name."""
        if name not in self.modalities:
            raise NotFoundError(f'"{name}" is not among the models of this page')
        return self._load(name)

    def limit(self, name: str) -> int:
        """Return the largest number of samples at once."""
        return self.model(name).Output.CARD_COUNT

    def labels(self, name: str) -> list[str]:
        """Return the classes of a model, if it has any."""
        return list(getattr(self.model(name), "labels", ()))

    def options(self, name: str) -> set[str]:
        """Return the names of a model's sample options."""
        return set(self.model(name).sample_options)

    def generate(self, name: str, n: float, seed: float, options: Mapping[str, Any]) -> Shown:
        """Sample a model of the page.

        Args:
            options: values of the controls; those that the model does not have are left out.

        Raises InvalidValueError for a number out of range, NotFoundError for a name that the page does not have.
        """
        model = self.model(name)
        limit = self.limit(name)
        if not 1 <= n <= limit:
            raise InvalidValueError(f"{n:g} samples should be 1 to {limit}")
        if not 0 <= seed <= MAX_SEED:
            raise InvalidValueError(f"seed = {seed:g} should be 0 to 2^32 - 1")
        known = self.options(name)
        chosen = {key: value for key, value in options.items() if key in known and value not in (None, "")}
        if not 1 <= (frames := chosen.get("frames", 1)) <= MAX_FRAMES:
            raise InvalidValueError(f"{frames:g} frames should be 1 to {MAX_FRAMES}")
        if "frames" in chosen:
            chosen["frames"] = int(frames)
        samples = model.sample(int(n), seed=choose_seed(int(seed)), **chosen)
        return self._show(samples)

    def _show(self, samples: Samples) -> Shown:
        """Save samples in the formats that a browser shows: the first one for the download, a picture and a sound."""
        formats = samples.SUFFIXES
        picture = next((suffix for suffix in (formats[0], ".png") if suffix in samples.PIXELS), None)
        scale = visible_scale(samples.tensor.shape[-1]) if formats[0] == picture else 1  # else a drawing, large enough
        wanted = {formats[0]: 1, **({picture: scale} if picture else {}), **({".wav": 1} if ".wav" in formats else {})}
        files = self._save(samples, wanted)
        return Shown(
            text=str(samples) if samples.READABLE else None,
            picture=files.get(picture or ""),
            sound=files.get(".wav"),
            file=files[formats[0]],
            said=repr(samples),
        )

    def _save(self, samples: Samples, scales: Mapping[str, int]) -> dict[str, str]:
        """Save samples in formats, each at its scale; folders of more than an hour ago are deleted."""
        folder = Path(self._folder.name)
        for old in folder.iterdir():
            if old.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        place = Path(tempfile.mkdtemp(dir=folder))
        name = f"{Path(samples.source).name}-{samples.seed}"
        return {suffix: str(samples.save(place / f"{name}{suffix}", scale=scale)) for suffix, scale in scales.items()}


def _find_modality(name: str) -> str:
    if name in registry.entries:
        return registry.entries[name].modality
    source = find_source(name)
    return source.modality if isinstance(source, Release) else source.recipe.modality


def build_page(demo: Demo) -> Any:
    """Build the Gradio page: a tab for each modality, with the controls that its models have.

    Raises MissingDependencyError.
    """
    gr = import_gradio()
    with gr.Blocks(title="zoo", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown("# zoo\n\nGenerative adversarial networks, sampled on this machine. A seed gives the same again.")
        events = []
        for modality in (each for each in MODALITIES if each in demo.modalities.values()):
            with gr.Tab(modality.capitalize()):
                events.append(_add_tab(gr, demo, [name for name, of in demo.modalities.items() if of == modality]))
        page.load(*events[0])  # the first tab has samples at once
    return page.queue(**QUEUE)


def _add_tab(gr: Any, demo: Demo, names: list[str]) -> tuple[Any, list[Any], list[Any]]:
    """Add the controls of the models of one modality, and what they make.

    Returns what the button does: a function, its inputs and its outputs.
    """
    output, options, labels = demo.model(names[0]).Output, demo.options(names[0]), demo.labels(names[0])
    with gr.Row():
        with gr.Column(scale=1):
            name = gr.Dropdown(names, value=names[0], label="Model")
            about = gr.Markdown(describe(names[0]))
            few = 4 if ".wav" in output.SUFFIXES else 16  # what is heard takes its time
            n = gr.Slider(1, output.CARD_COUNT, value=min(few, output.CARD_COUNT), step=1, label="Samples")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
            controls = {
                "label": gr.Dropdown(["", *labels], value="", label="Class", visible="label" in options),
                "temperature": _make_slider(gr, "temperature", 0.1, 2, options),
                "truncation": _make_slider(gr, "truncation", 0, 1.5, options),
                "frames": gr.Slider(1, MAX_FRAMES, value=16, step=1, label="Frames", visible="frames" in options),
            }
            button = gr.Button("Generate", variant="primary")
        with gr.Column(scale=3):
            said = gr.Markdown()
            shown = {
                "picture": gr.Image(
                    label="Samples", alt_text="Samples of the model", type="filepath", buttons=BUTTONS, visible=False
                ),
                "text": gr.Textbox(label="Samples", lines=16, visible=False),
                "sound": gr.Audio(label="Sound", buttons=BUTTONS[:1], visible=False),
            }
            file = gr.DownloadButton("Download", visible=False)

    def choose(chosen: str) -> list[Any]:
        known = demo.options(chosen)
        classes = gr.update(choices=["", *demo.labels(chosen)], value="", visible="label" in known)
        return [describe(chosen), classes, *(gr.update(visible=option in known) for option in list(controls)[1:])]

    def generate(chosen: str, count: float, of_seed: float, *values: Any) -> list[Any]:
        try:
            made = demo.generate(chosen, count, of_seed or 0, dict(zip(controls, values, strict=True)))
        except ZooError as error:
            raise gr.Error(str(error)) from None
        results = [getattr(made, key) for key in shown]
        updates = [gr.update(value=value, visible=value is not None) for value in results]
        return [made.said, *updates, gr.update(value=made.file, visible=True)]

    name.change(choose, name, [about, *controls.values()])
    event = (generate, [name, n, seed, *controls.values()], [said, *shown.values(), file])
    button.click(*event, api_name=False)
    return event


def _make_slider(gr: Any, option: str, low: float, high: float, options: set[str]) -> Any:
    return gr.Slider(low, high, value=1, step=0.05, label=option.capitalize(), visible=option in options)


def describe(name: str) -> str:
    """Say in a line what a model is, with a link to its paper."""
    if name not in registry.entries:
        return f"`{name}`"
    recipe = load_recipe(name)
    return f"{recipe.summary}. [Paper]({recipe.paper})" if recipe.paper else recipe.summary


def import_gradio() -> Any:
    """Import Gradio. Raises MissingDependencyError."""
    try:
        import gradio
    except ImportError:
        raise MissingDependencyError("zoo demo needs the package 'gradio': pip install 'gan-zoo[demo]'") from None
    return gradio


# --- a Space of the Hub ------------------------------------------------------------------------------------------

APP = """\
from zoo.demo import LAUNCH, Demo, build_page

build_page(Demo({names!r})).launch(**LAUNCH)
"""
INSTALL = "gan-zoo[video] @ git+https://github.com/gan-zoo/gan-zoo"


def write_space(folder: Path, names: Sequence[str]) -> list[Path]:
    """Write the files of a Gradio Space that shows entries; returns their paths.

    Raises InvalidValueError for a name that only this machine knows, WriteError where other files would be replaced.
    """
    for name in names:
        if name not in registry.entries and (is_local_path(name) or "/" not in name):
            raise InvalidValueError(f"{name}: a Space loads entries and repositories of the Hub, org/name")
    contents = {
        "app.py": APP.format(names=list(names)),
        "requirements.txt": f"{INSTALL}\n",
        "README.md": _space_card(names),
    }
    if taken := [name for name in contents if (folder / name).exists()]:
        raise WriteError(f"{folder}: {taken[0]} is there already; choose a new folder")
    for name, content in contents.items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def _space_card(names: Sequence[str]) -> str:
    """Write the README.md that configures a Space: https://huggingface.co/docs/hub/spaces-config-reference."""
    from importlib.metadata import version

    models = "".join(f"  - {name}\n" for name in names if name not in registry.entries)
    return f"""---
title: zoo
sdk: gradio
sdk_version: {version("gradio")}
python_version: "3.12"
app_file: app.py
license: apache-2.0
short_description: GANs of faces, text, music and video
{f"models:{chr(10)}{models}" if models else ""}---

The models of [gan-zoo](https://github.com/gan-zoo/gan-zoo), to try in the browser.
"""
