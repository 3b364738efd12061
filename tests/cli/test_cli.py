"""The command line: what it prints, and that a user's mistake is one clear line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
import zoo.cli
import zoo.training.run
from zoo.errors import InvalidValueError
from zoo.faces.architectures.stylegan2 import StyleGAN2
from zoo.music.architectures.musegan import MuseGAN
from zoo.registry import registry


def test_list_shows_every_entry_with_its_summary(command):
    """`zoo list` has a line for each entry."""
    code, output, _ = command("list")

    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == registry.names()


def test_info_names_the_sources(command):
    """`zoo info` names architecture, paper and recipe."""
    code, output, _ = command("info", "faces-dcgan")

    assert code == 0
    assert "dcgan" in output
    assert "arxiv.org/abs/1511.06434" in output


@pytest.mark.parametrize("name", registry.names())
def test_info_describes_every_entry(command, name: str):
    """`zoo info` works for any metrics, also where there is no real-against-real value."""
    code, output, errors = command("info", name)

    assert code == 0, errors
    assert registry.entries[name].architecture in output


def test_info_describes_a_run_and_weights_that_are_no_entry(command, run: Path, tmp_path: Path):
    """What they are, their sizes, and the options that they take."""
    for name in (run, shutil.copytree(registry.entries["music-musegan"].bundled, tmp_path / "scores")):
        code, output, errors = command("info", name)
        assert code == 0, errors
        assert "parameters" in output
    assert "released in" in output
    assert "--candidates" in output
    assert json.loads(command("info", run, "--json")[1])["weights"] == "a run at 0.008 kimg"
    code, _, errors = command("info", run, "--cost")
    assert (code, f"{run}/recipe.toml" in errors) == (2, True)


INTERRUPTED = """
import os, signal, time, zoo.releases.loading
from zoo.cli import main

def load(*args, **options):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

zoo.releases.loading.load = load
main()
"""


def test_ctrl_c_ends_a_command_as_shells_expect():
    """So that `zoo sample ... && next` does not go on; one line says that it was stopped."""
    run = [sys.executable, "-c", INTERRUPTED, "sample", "faces-dcgan"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 130
    assert done.stderr == "zoo: stopped\n"
    assert not done.stdout


def test_cost_is_counted(command):
    """`zoo info --cost` counts parameters and FLOPs and measures memory and speed."""
    code, output, _ = command("info", "faces-dcgan", "--cost")

    assert code == 0
    assert "3,576,704" in output
    # 2 x (100 x 8192 + 3 x 2^25 + 3 x 2^20) multiply-adds: the five transposed convolutions by hand
    assert f"{2 * (100 * 8192 + 3 * 2**25 + 3 * 2**20) / 1e6:,.1f} MFLOPs" in output
    assert "samples/s" in output
    assert "MB" in output


MISTAKES = [
    (["sample", "faces-dcgan", "--out", "~nosuchuser/a.png"], "no such user"),
    (["sample", "faces-dcgan", "--out", f"{'a' * 300}.png"], "File name too long"),
    (["sample", "video-mocogan", "-n", "1", "--frames", str(10**14)], "more than this machine's memory"),
    (["sample", "faces-dcgann"], 'Did you mean "faces-dcgan"'),
    (["sample", "faces-dcgan", "--out", "x.gif"], ".png"),
    (["sample", "faces-dcgan", "-n", "0"], "-n"),
    (["sample", "music-wavegan", "--interpolate", "3", "--play"], "cannot be played"),
    (["evaluate", "music-musegan", "--features", "zoo:music-evaluator"], "use no features"),
    (["train", "faces-dcgan", "--out", "run", "train.keep=best"], "train.evaluate_kimg"),
    (["evaluate", "text-mle", "--plot", "curve.jpg"], ".png"),
    (["evaluate", "faces-dcgan", "--samples", "3"], "at least 6"),
    (["data", "build", "bach-chorales", "--size", "64"], "leave --size out"),
    (["recipe", "show", "music-hifigan", "model.block=true"], "should be one of"),
    (["list", "fase"], 'Did you mean "faces"'),
    (["info", "nothing"], "no entry"),
    (["train"], "zoo train faces-dcgan --out"),
    (["train", "faces-dcgan"], "--out"),
    (["train", "faces-dcgan", "train.bach=3", "--out", "r"], "train.batch"),
    (["train", "faces-dcgan", "train.loss=hing", "--out", "r"], "hinge"),
    (["train", "faces-dcgan", "--data", "./nowhere", "--out", "r"], "no such folder"),
    (["train", "faces-dcgan", "--data", "synthetic-face", "--out", "r"], "synthetic-faces"),
    (["train", "--resume", "nowhere"], "no such folder"),
    (["evaluate", "nowhere/at/all"], "no such folder"),
    (["release", "nowhere"], "no such folder"),
    (["sample", "faces-gan", "-n", "9" * 20], "1 to 2^31"),
    (["evaluate", "faces-gan", "--seed", "9" * 20], "0 to 2^63 - 1"),
    (["train", "faces-gan", "--out", "run", "train.batch=" + "9" * 5000], "cannot be read as TOML"),
    (["train", "faces-gan", "--out", "run", "train.augment=" + "[" * 5000], "cannot be read as TOML"),
    (["recipe", "copy", "faces-dcgan", "mine.txt"], ".toml"),
    (["recipe", "show", "./none.toml"], "cannot read"),
    (["data", "build", "synthetic-face"], 'Did you mean "synthetic-faces"'),
    (["data", "build", "synthetic-faces", "--size", "16"], "size"),
    (["frobnicate"], "No such command"),
    (["sample", "faces-stylegan2-small", "--option", "edit=smile=1"], "no text can give this"),
    (["sample", "text-mle", "--scale", "2", "--out", "t.jsonl"], "have pixels in"),
    (["sample", "video-mocogan", "--rate", "60"], "that of a --walk"),
]


@pytest.mark.parametrize(
    ("arguments", "hint"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_mistakes_are_one_clear_line(command, arguments: list[str], hint: str, tmp_path: Path, monkeypatch):
    """A mistake prints one line that says what would have worked, exits with 2, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)

    code, output, errors = command(*arguments)

    assert (code, output) == (2, "")
    assert len(errors.strip().splitlines()) == 1, errors
    assert hint in errors
    assert list(tmp_path.iterdir()) == []


def test_an_entry_without_weights_is_listed_without_pretrained(unreleased: str, command):
    """And told so, where only entries with weights were asked for."""
    code, output, errors = command("list", unreleased, "--pretrained")

    assert (code, output) == (2, "")
    assert "without --pretrained there are some" in errors
    assert unreleased in command("list", unreleased)[1]


def test_data_of_another_kind_is_said_to_be_so(command, photos: Path, tmp_path: Path, monkeypatch):
    """Pictures where texts, scores or sounds belong, a file where a folder belongs, a recipe where weights belong."""
    monkeypatch.chdir(tmp_path)
    (photos / "notes.txt").unlink()
    picture = next(photos.glob("*.jpg"))
    command("recipe", "copy", "faces-dcgan", "mine.toml")
    for arguments, hint in (
        (("train", "text-mle", "--data", photos), r"no \.txt file .*; there are \d+ \.\w+ and"),
        (("train", "text-mle", "--data", picture), "no text, or text in UTF-16"),
        (("train", "music-musegan", "--data", photos), r"no MIDI file .*; there are \d+"),
        (("train", "music-wavegan", "--data", photos), r"no sound file .*; there are \d+"),
        (("train", "faces-dcgan", "--data", picture), "a file; give the folder of images"),
        (("sample", "mine.toml"), "a recipe, which has no weights; `zoo train mine.toml"),
        (("publish", "mine.toml", "--repo", "a/b"), "a recipe, which has no weights"),
    ):
        code, output, errors = command(*arguments, *(["--out", "run"] if arguments[0] == "train" else []))
        assert (code, output) == (2, "")
        assert len(errors.strip().splitlines()) == 1, errors
        assert re.search(hint, errors), errors
        assert not Path("run").exists()


def test_quiet_and_verbose_belong_to_every_command(command, photos: Path, tmp_path: Path):
    """Quiet leaves the result and nothing else; verbose shows where an error came from, and the same last line."""
    out = tmp_path / "run"
    code, output, errors = command("train", "faces-dcgan", *TINY, "--data", photos, "--out", out, "-q")
    assert (code, output, errors) == (0, f"run: {out}\n", "")
    code, output, errors = command("sample", "nobody", "--verbose")
    assert code == 2
    assert "Traceback" in errors
    assert errors.strip().splitlines()[-1] == command("sample", "nobody")[2].strip()


def test_texts_that_are_printed_need_no_place(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is not written cannot be in the way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text-mle-1.txt").mkdir()

    assert command("sample", "text-mle", "-n", 1, "--seed", 1)[0] == 0


def test_a_group_without_a_command_prints_its_help(command):
    """`zoo data` shows its commands, and no empty error."""
    code, output, errors = command("data")
    assert code == 2
    assert "build" in output + errors
    assert "zoo:" not in output + errors


def test_a_folder_without_images_is_one_clear_error(command, tmp_path: Path):
    """Training on a folder without images is refused, and leaves no run."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("")

    code, _, errors = command("train", "faces-dcgan", "--data", tmp_path / "photos", "--out", tmp_path / "run")

    assert code == 2
    assert "here can be read" in errors
    assert not (tmp_path / "run").exists()


TINY = ["model.width=4", "train.batch=4", "train.total_kimg=0.016", "train.lr_decay_share=0"]


def test_train_resume_and_sample_a_run_of_the_user(command, photos: Path, tmp_path: Path):
    """A user's own photos are trained on; the run is resumed and sampled, by commands alone."""
    code, output, errors = command(
        "train", "faces-dcgan", *TINY, "--data", photos, "--out", tmp_path / "run", "--workers", 1
    )
    assert (code, output.strip()) == (0, f"run: {tmp_path / 'run'}"), errors
    assert "3 of 27 files are left out" in errors
    assert "100 %" in errors

    code, _, errors = command("train", "--resume", tmp_path / "run", "train.batch=8")
    assert code == 2
    assert "train.batch: 4 -> 8" in errors

    code, _, errors = command("train", "--resume", tmp_path / "run", "train.total_kimg=0.024")
    assert code == 0
    assert "resuming from 0.016 kimg" in errors

    code, output, _ = command("sample", tmp_path / "run", "-n", 5, "--seed", 1, "--out", tmp_path / "mine.png")
    assert code == 0
    assert "seed 1" in output
    assert (tmp_path / "mine.png").is_file()

    code, _, errors = command("release", tmp_path / "run", "--out", tmp_path / "released")
    assert code == 2
    assert "zoo evaluate" in errors


def test_a_run_without_a_checkpoint_is_resumed_from_its_start(command, photos: Path, tmp_path: Path):
    """A run that has no checkpoint yet is resumed from the weights of `train.start`."""
    options = ["--data", photos, "--workers", 1, *TINY]
    assert command("train", "faces-dcgan", *options, "--out", tmp_path / "a")[0] == 0
    still = ["train.generator.lr=1e-12", "train.discriminator.lr=1e-12", f"train.start={tmp_path / 'a'}"]
    assert command("train", "faces-dcgan", *options, *still, "--out", tmp_path / "b")[0] == 0
    for state in (tmp_path / "b" / "checkpoints").iterdir():
        state.unlink()

    assert command("train", "--resume", tmp_path / "b")[0] == 0

    first, second = (zoo.load(tmp_path / name).sample(2, seed=0).tensor for name in "ab")
    torch.testing.assert_close(first, second, rtol=0, atol=1e-3)


def test_a_start_of_another_kind_leaves_no_run_behind(command, photos: Path, tmp_path: Path):
    """A wrong `train.start` is refused before a run is made, so the corrected command can use the same folder."""
    options = ["--data", photos, "--workers", 1, "--out", tmp_path / "a", "train.batch=4"]

    code, _, errors = command("train", "faces-gan", *options, "train.start=faces-dcgan")

    assert code == 2
    assert "DCGAN, and not of" in errors
    assert not (tmp_path / "a" / "recipe.toml").exists()


def test_recipe_copy_trains_by_its_path(command, photos: Path, tmp_path: Path):
    """A copied recipe is trained by naming its file."""
    code, output, _ = command("recipe", "copy", "faces-gan", tmp_path / "mine.toml")
    assert (code, output.strip()) == (0, str(tmp_path / "mine.toml"))

    tiny = ["model.generator_units=8", "model.maxout_units=4", "train.batch=4", "train.total_kimg=0.008"]
    code, _, errors = command(
        "train", tmp_path / "mine.toml", *tiny, "--data", photos, "--out", tmp_path / "run", "--workers", 1
    )
    assert code == 0, errors
    assert (tmp_path / "run" / "entry").read_text().strip() == "faces-mine"


@pytest.mark.skipif(not registry.entries["faces-dcgan"].has_weights, reason="no released weights yet")
def test_sampling_a_bundled_entry(command, tmp_path: Path):
    """Bundled weights are sampled into a picture, without network."""
    code, output, _ = command("sample", "faces-dcgan", "-n", 64, "--seed", 0, "--out", tmp_path / "faces.png")

    assert code == 0, output
    assert (tmp_path / "faces.png").stat().st_size > 100_000


def test_python_m_zoo_is_the_command():
    """`python -m zoo` is the command line; torchrun starts it this way."""
    result = subprocess.run([sys.executable, "-m", "zoo", "list"], check=True, capture_output=True, text=True)

    assert result.stdout.split()[0] in zoo.list_models()


HOSTILE = "\x1b]0;title\x07\x1b[2J\u202ename\x9b1A"
"""What changes a terminal's title, clears it, turns a text around, and moves the cursor."""


def write_hostile_config(folder: Path) -> list[object]:
    (folder / "config.json").write_text(
        json.dumps(
            {"format": 1, "library": "gan-zoo", "modality": "faces", "architecture": "dcgan", "config": {HOSTILE: 1}}
        )
    )
    return ["sample", folder]


def write_hostile_recipe(folder: Path) -> list[object]:
    key = json.dumps(HOSTILE)
    (folder / "a.toml").write_text(f'modality = "faces"\narchitecture = "dcgan"\n[train]\n{key} = 1\n')
    return ["recipe", "show", folder / "a.toml"]


def write_hostile_tensor(folder: Path) -> list[object]:
    copied = shutil.copytree(registry.entries["faces-dcgan"].bundled, folder / "copied")
    (copied / "SHA256SUMS").unlink()
    state = load_file(copied / "generator.safetensors")
    save_file({**state, HOSTILE: torch.zeros(1)}, copied / "generator.safetensors")
    return ["sample", copied]


def write_hostile_tokenizer(folder: Path) -> list[object]:
    copied = shutil.copytree(registry.entries["text-mle"].bundled, folder / "copied")
    (copied / "SHA256SUMS").unlink()
    facts = json.loads((copied / "tokenizer.json").read_text())
    tokens = facts["model"]["vocab"]
    facts["model"]["vocab"] = {token + HOSTILE * (number > 1): number for token, number in tokens.items()}
    (copied / "tokenizer.json").write_text(json.dumps(facts))
    return ["sample", copied, "-n", 1]


def name_hostile_file(folder: Path) -> list[object]:
    (folder / "photos").mkdir()
    (folder / "photos" / f"{HOSTILE}.png").write_bytes(b"no picture")
    return ["train", "faces-dcgan", "--data", folder / "photos", "--out", folder / "run"]


@pytest.mark.parametrize(
    "prepare",
    [
        write_hostile_config,
        write_hostile_recipe,
        write_hostile_tensor,
        write_hostile_tokenizer,
        name_hostile_file,
        lambda folder: ["info", HOSTILE],
    ],
)
def test_texts_of_others_cannot_command_the_terminal(command, prepare, tmp_path: Path):
    """Control characters in keys, tensors, tokens and file names are printed as escapes."""
    _, output, errors = command(*prepare(tmp_path))

    assert "\\x1b" in output + errors
    assert not set("\x1b\x07\x9b\u202e") & set(output + errors)


def test_the_command_line_prints_through_echo_alone():
    """No command prints by itself, so that none prints a text of others raw."""
    commands = [
        path for path in Path(zoo.cli.__file__).parent.glob("*.py") if path.name not in ("app.py", "progress.py")
    ]

    assert len(commands) > 8
    assert [path.name for path in commands if re.search(r"(?<!\w)print\(", path.read_text())] == []


def test_a_run_is_resumed_where_its_data_moved(command, photos: Path, tmp_path: Path):
    """`--resume RUN --data ELSEWHERE` continues with the same pictures in another folder, and with no others."""
    run = tmp_path / "run"
    assert command("train", "faces-dcgan", *TINY, "--data", photos, "--out", run, "--workers", 1)[0] == 0
    moved = photos.rename(tmp_path / "elsewhere")
    longer = ["--resume", run, "--workers", 1, "train.total_kimg=0.024"]

    code, _, errors = command("train", *longer)
    assert code == 2
    assert f"--resume {run} --data ELSEWHERE" in errors

    others = shutil.copytree(moved, tmp_path / "others")
    (others / "0.jpg").unlink(missing_ok=True)
    (others / "1.png").unlink(missing_ok=True)
    (others / "2.bmp").unlink(missing_ok=True)
    code, _, errors = command("train", *longer, "--data", others)
    assert code == 2
    assert "is not what" in errors

    code, _, errors = command("train", *longer, "--data", moved)
    assert code == 0, errors
    assert "resuming from 0.016 kimg" in errors
    assert command("train", "--resume", run, "train.total_kimg=0.028")[0] == 0  # the run knows the new folder


def test_a_refused_start_leaves_no_run_folder(command, photos: Path, tmp_path: Path, monkeypatch):
    """Whatever refuses a training before its first step, there is no folder that blocks the corrected command."""

    def refuse(*_: object) -> None:
        raise InvalidValueError("train.batch = 4 does not suit this architecture")

    monkeypatch.setattr("zoo.faces.architectures.dcgan.DCGAN.phases", refuse)

    code, _, errors = command("train", "faces-dcgan", *TINY, "--data", photos, "--out", tmp_path / "run")

    assert (code, errors.splitlines()[-1]) == (2, "zoo: train.batch = 4 does not suit this architecture")
    assert not (tmp_path / "run").exists()


def test_a_training_stops_by_the_clock(command, photos: Path, tmp_path: Path):
    """`--time-limit` ends a training with a checkpoint, from which it is resumed."""
    endless = [*TINY, "train.total_kimg=1000000"]

    code, _, errors = command(
        "train", "faces-dcgan", *endless, "--data", photos, "--out", tmp_path / "run", "--time-limit", "1s"
    )

    assert code == 0
    assert f"stopped; resume with: zoo train --resume {tmp_path / 'run'}" in errors
    reached = zoo.training.run.Run.open(tmp_path / "run").kimg
    assert reached > 0
    assert command("train", "--resume", tmp_path / "run", "--time-limit", "1s")[0] == 0
    assert zoo.training.run.Run.open(tmp_path / "run").kimg > reached


@pytest.mark.parametrize("text", ["8", "m", "-1s", "0s", "1 h", "1d"])
def test_a_time_limit_has_a_unit(command, text: str):
    """The error says how a time is written."""
    code, _, errors = command("train", "faces-dcgan", "--out", "run", f"--time-limit={text}")

    assert code == 2
    assert "such as 90s, 8m or 2h" in errors


@pytest.mark.parametrize(
    ("what", "expected"), [("music", "music-"), ("MUSIC", "music-"), ("Seq", "text-seqgan"), ("*-vgan", "video-vgan")]
)
def test_list_finds_modalities_and_parts_of_names(command, what: str, expected: str):
    """In any case; patterns work, too."""
    code, output, _ = command("list", what)

    assert code == 0
    assert all(line.startswith(expected) for line in output.splitlines())


def test_list_of_nothing_suggests(command):
    """A word that no name has is answered by the nearest."""
    code, output, errors = command("list", "facse-dcgan")

    assert (code, output) == (2, "")
    assert 'no entry has "facse-dcgan" in its name. Did you mean "faces-dcgan"' in errors


def test_programs_read_json(command):
    """Of list, info and verify; all facts of info are there as numbers and texts."""
    listed = json.loads(command("list", "--pretrained", "--json")[1])
    facts = json.loads(command("info", "music-wavegan", "--json")[1])
    (verified,) = json.loads(command("verify", "faces-dcgan", "--json")[1])

    assert [each["name"] for each in listed] == zoo.list_models(pretrained=True)
    assert facts["sample"] == [1, 16384]
    assert facts["classes"][0] == "kick"
    assert facts["parameters"]["generator"] == 947_841
    assert {metric["name"] for metric in facts["metrics"]} >= {"frechet_distance"}
    assert verified["problem"] == ""


def test_info_says_how_an_option_is_given(command):
    """Common options have a flag of their own; all flags that info names are flags of zoo sample."""
    output, flags = command("info", "faces-stylegan2")[1], command("sample", "--help")[1]

    for flag in ("--truncation", "--edit"):
        assert flag in output
        assert flag in flags


def test_info_lists_what_the_weights_take(command):
    """An option of the architecture that these weights have no use for is not listed: a class, noise, a file."""
    for absent in ("--label", "noise="):
        assert absent not in command("info", "faces-stylegan2")[1]
    assert "--input" not in command("info", "music-musegan")[1]
    assert "--label" in command("info", "music-wavegan")[1]

    noisy = StyleGAN2(StyleGAN2.Config(resolution=8, channel_base=64, channel_max=8, latent_dim=8, style_dim=8))
    assert "noise" in noisy.sample_options
    assert "given" in MuseGAN(MuseGAN.Config(given=0)).sample_options


def test_info_says_what_a_training_started_from(command):
    """The cost of released weights is not that of their last training alone."""
    assert "125 kimg, batch 8, from its earlier weights" in command("info", "faces-dcgan")[1]
    assert "from weights of text-mle-english" in command("info", "text-ebm")[1]
    assert "from" not in next(line for line in command("info", "faces-gan")[1].splitlines() if "trained" in line)


def test_what_a_terminal_cannot_print_is_escaped():
    """A poem on a terminal of ASCII is no traceback."""
    command = [sys.executable, "-m", "zoo", "sample", "text-mle", "-n", "1", "--seed", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"(\\u[0-9a-f]{4}|\n)+", done.stdout)


def test_version(command):
    """What a bug report needs."""
    code, output, _ = command("--version")

    assert code == 0
    assert re.fullmatch(r"gan-zoo \d+\.\d+\.\d+ \(Python [\d.]+, torch [\w.+]+\)\n", output)


def test_names_are_suggested_in_any_case(command):
    """`Faces-DCGAN` is `faces-dcgan`, and nothing else."""
    assert 'Did you mean "faces-dcgan"?' in command("sample", "Faces-DCGAN")[2]


def test_a_folder_that_is_not_there_is_no_repository(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the folder above is there, no network is asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("zoo.releases.loading.fetch_release", lambda address: pytest.fail("the Hub was asked"))

    code, _, errors = command("sample", "runs/nothing")

    assert (code, errors) == (2, "zoo: runs/nothing: no such folder\n")
