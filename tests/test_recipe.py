from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import InvalidValueError, NotFoundError
from zoo.recipe import (
    MAX_ITEMS,
    DataConfig,
    TestConfig,
    apply_override,
    build,
    difference,
    load_architecture,
    load_recipe,
    parse_recipe,
)
from zoo.registry import registry


@pytest.mark.parametrize("name", registry.names())
def test_resolved_recipe_reads_back_equal(name: str, tmp_path: Path):
    """A resolved recipe written as TOML is the same recipe when it is read again, except for its name."""
    recipe = load_recipe(name)
    path = tmp_path / registry.entries[name].recipe.name
    path.write_text(recipe.to_toml())

    assert load_recipe(path) == replace(recipe, name=f"{name}-own")


def test_overrides_reach_nested_values_with_their_types():
    """`key=value` sets any value: numbers, words, lists; an integer may stand for a number."""
    recipe = load_recipe(
        "faces-dcgan",
        ["train.batch=8", "train.loss=hinge", "train.generator.lr=1", "train.augment=['color', 'cutout']"],
    )

    assert (recipe.train.batch, recipe.train.loss, recipe.train.generator.lr) == (8, "hinge", 1.0)
    assert recipe.train.augment == ("color", "cutout")


@pytest.mark.parametrize(
    ("override", "error", "text"),
    [
        ("train.bach=8", NotFoundError, 'Did you mean "train.batch"'),
        ("batch=8", NotFoundError, "Did you mean train.batch"),
        ("train.batch", InvalidValueError, "key=value"),
        ("train.batch=many", InvalidValueError, "whole number"),
        ("train.batch=1", InvalidValueError, "from 2"),
        ("train.batch=8.5", InvalidValueError, "whole number"),
        ("train.batch=true", InvalidValueError, "whole number"),
        ("train.loss=true", InvalidValueError, "should be one of"),
        ("train.total_kimg=nan", InvalidValueError, "finite"),
        ("train.total_kimg=0", InvalidValueError, "above 0"),
        ("train.loss=hing", InvalidValueError, 'Did you mean "hinge"'),
        ("train.generator.betas=[0.5]", InvalidValueError, "a list of 2"),
        ("train.generator=3", InvalidValueError, "is a table"),
        ("model.resolution=48", InvalidValueError, "power of two"),
        ("train.augment=['colour']", InvalidValueError, 'Did you mean "color"'),
        ("data.folder=/x", InvalidValueError, "exactly one"),
        ("train.generator.lr=-1", InvalidValueError, "above 0"),
    ],
)
def test_bad_overrides_say_what_would_have_worked(override: str, error: type[Exception], text: str):
    """Errors of unknown keys suggest the nearest; errors of values state the right type or range."""
    with pytest.raises(error, match=text.replace("[", r"\[")):
        load_recipe("faces-dcgan", [override])


def test_scheduled_settings_follow_half_a_cosine_and_stay_at_its_end():
    """The length is that of the training, or the schedule's own; then the training can be made longer."""
    train = load_recipe("faces-dcgan", ["train.total_kimg=40", "train.schedule.r1_gamma_factor=0.1", *NO_FALL]).train
    expected = [train.r1_gamma * factor for factor in (1.0, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 0.55, 0.1, 0.1)]
    assert [train.compute_r1_gamma(kimg) for kimg in (0, 10, 20, 40, 50)] == pytest.approx(expected)
    assert train.schedule_start_kimg == 0

    own_length = dataclasses.replace(train, schedule=dataclasses.replace(train.schedule, kimg=80.0))
    assert own_length.compute_r1_gamma(40) == pytest.approx(0.55 * train.r1_gamma)
    assert math.isinf(own_length.schedule_start_kimg)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.999, 5.0])
def test_without_a_schedule_settings_keep_every_bit(value: float):
    """Half a cosine to the same value is no change by rounding."""
    train = load_recipe("faces-dcgan", NO_FALL).train
    assert {train.follow_schedule(value, value, train.total_kimg * i / 7) for i in range(9)} == {value}
    assert math.isinf(train.schedule_start_kimg)


def test_a_schedule_of_betas_needs_an_optimizer_that_has_some():
    sgd = [f"train.{network}.kind=sgd" for network in ("generator", "discriminator")]
    with pytest.raises(InvalidValueError, match=r"train\.schedule\.beta2: neither optimizer has betas"):
        load_recipe("faces-dcgan", ["train.schedule.beta2=0.9", *sgd])
    assert load_recipe("faces-dcgan", ["train.schedule.beta2=0.9", sgd[0]]).train.schedule.beta2 == 0.9


def test_a_schedule_of_a_penalty_that_is_off_is_refused():
    """A setting that would do nothing is an error."""
    with pytest.raises(InvalidValueError, match=r"there is no R1 penalty: set train\.r1_gamma"):
        load_recipe("faces-dcgan", ["train.r1_gamma=0", "train.schedule.r1_gamma_factor=0.1"])


@pytest.mark.parametrize("key", ["train.batch", "train.seed", "train.total_kimg", "train.loss", "model.resolution"])
def test_a_number_of_thousands_of_digits_is_refused_in_a_line(key: str):
    """Python refuses to write such a number down, and the message does without it."""
    with pytest.raises(InvalidValueError, match="should be") as refused:
        load_recipe("faces-dcgan", [f"{key}=0x{'f' * 5000}"])
    assert len(str(refused.value)) < 200


NO_FALL = ["train.lr_decay_share=0"]
ARCHITECTURES = sorted({(entry.modality, entry.architecture) for entry in registry.entries.values()})


def find_list_keys(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, int]]:
    """Find the keys of a table that take lists of any length: the path, the type and the most values of each."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from find_list_keys(hint, (*path, field.name))
        if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
            yield (*path, field.name), hint, field.metadata.get("items", MAX_ITEMS)


@pytest.mark.parametrize(("modality", "name"), ARCHITECTURES)
def test_every_list_is_bounded_before_a_layer_is_made_of_it(modality: str, name: str, monkeypatch: pytest.MonkeyPatch):
    """A config or recipe with a list that is longer than any network needs, or holds such a list, is refused."""
    gan = load_architecture(modality, name)
    monkeypatch.setattr(gan, "__init__", lambda *args: pytest.fail("a network was made"))
    for section, cls in (("model", gan.Config), ("data", gan.DataConfig), ("train", gan.TrainConfig)):
        for path, hint, most in find_list_keys(cls):
            item, outer = get_args(hint)[0], []
            if get_origin(item) is tuple:
                item, outer = get_args(item)[0], [[[2] * (most + 1)]]
            one = {int: 2, str: "a"}.get(item) or get_args(item)[0]  # a Literal's first value
            assert most <= 64
            for value in [[one] * (most + 1), [one] * 20_000, *outer]:
                table: Any = value
                for key in reversed(path):
                    table = {key: table}
                with pytest.raises(
                    InvalidValueError, match=rf"{path[-1]} has .* values; it should have at most {most}"
                ):
                    build(cls, table, where=section)


def test_every_table_is_bounded():
    with pytest.raises(InvalidValueError, match="at most 64"):
        build(TestConfig, {"parameters": {str(i): i for i in range(65)}}, where="recipe")


@pytest.mark.parametrize("never", [[65535], [0, 1], [1, 0, 0]])
def test_banned_tokens_leave_others_to_sample(never: list[int]):
    """A token beyond the vocabulary, or no token that is left, is an error of the config and none of torch."""
    with pytest.raises(InvalidValueError, match=r"model\.banned"):
        build(load_architecture("text", "seqgan").Config, {"vocabulary": 2, "banned": never}, where="config")


def test_recipe_architectures_are_those_of_the_registry():
    """A recipe cannot name code that no installed recipe names."""
    table = load_recipe("faces-dcgan").to_table() | {"architecture": "os:system"}

    with pytest.raises(NotFoundError, match="no architecture"):
        parse_recipe(table, name="x")


@given(st.text(), st.text())
def test_any_override_is_applied_or_refused_in_words(key: str, value: str):
    """No override, however odd, ends in anything but a value or an error of this library."""
    table = load_recipe("faces-dcgan").to_table()
    try:
        apply_override(table, f"{key}={value}")
    except (NotFoundError, InvalidValueError):
        return


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["model", "data", "train", "evaluate", "weights", "summary", "paper", "odd"]), JUNK)
def test_any_table_is_a_recipe_or_refused_in_words(section: str, junk: object):
    """Whatever a section holds, parsing ends in a recipe or in an error of this library."""
    table = load_recipe("faces-gan").to_table()
    try:
        parse_recipe({**table, section: junk}, name="x")
    except (NotFoundError, InvalidValueError):
        return


@given(
    st.integers(2, 512),
    st.floats(1e-6, 1e4, allow_nan=False),
    st.sampled_from(["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]),
)
def test_overrides_round_trip(batch: int, kimg: float, loss: str):
    """What an override sets is what the resolved recipe holds."""
    overrides = [f"train.batch={batch}", f"train.total_kimg={kimg!r}", f"train.loss={loss}"]

    train = load_recipe("faces-gan", overrides).train

    assert (train.batch, train.total_kimg, train.loss) == (batch, kimg, loss)


def test_data_option_tells_names_folders_and_hub_ids_apart(tmp_path: Path):
    """--data takes a data set's name, a folder, or hf:org/set."""
    assert DataConfig.option("synthetic-faces") == {"name": "synthetic-faces"}
    assert DataConfig.option("hf:org/set") == {"hub": "org/set"}
    assert DataConfig.option(str(tmp_path)) == {"folder": str(tmp_path)}


def test_difference_names_changed_keys():
    """The difference of two recipes is a list of dotted keys with both values."""
    old, new = load_recipe("faces-dcgan"), load_recipe("faces-dcgan", ["train.batch=32"])

    assert difference(old.to_table(), new.to_table()) == [f"train.batch: {old.train.batch} -> 32"]
