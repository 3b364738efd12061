from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.rounds import LENGTH, QUICK, Fake, Rounds, cycles
from PIL import Image

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError
from zoo.recipe import EvaluateConfig
from zoo.text.metrics.curve import TIE_NATS, Curve, Point, compare_curves, compute_gap
from zoo.text.metrics.evaluate import evaluate

SETTINGS = EvaluateConfig(samples=60, features="zoo:text-evaluator")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.text.metrics.language_model.DEFAULT", QUICK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_store(Rounds(), tmp_path / "rounds")


class Heated(Fake):
    """Fresh texts of the language. The higher the temperature, the more words are random.

    `variety` is the share of texts that are different.
    """

    def __init__(self, variety: float = 1.0) -> None:
        super().__init__(cycles(400, seed=1))
        self.variety = variety

    def sample(self, n: int, *, temperature: float = 1.0, seed: int = 0, **options: object):
        rng = np.random.default_rng(seed)
        texts = self.texts.numpy()[np.arange(n) % max(1, round(self.variety * n))]
        is_random = rng.random((n, LENGTH)) < 0.4 * temperature - 0.2
        self.texts, kept = torch.from_numpy(np.where(is_random, rng.integers(2, 12, (n, LENGTH)), texts)), self.texts
        samples = super().sample(n, temperature=temperature)
        self.texts = kept
        return samples


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points)


def points(*values: tuple[float, float, float, float]) -> tuple[Point, ...]:
    return tuple(
        Point(temperature=0.7 + i / 10, lm=lm, rlm=rlm, bleu_4=b, self_bleu_4=s)
        for i, (lm, rlm, b, s) in enumerate(values)
    )


CONTROL = points((5.0, 6.6, 0.30, 0.45), (5.5, 6.5, 0.25, 0.33), (6.0, 6.55, 0.20, 0.22))
AN_EXAMPLE = Curve(
    name="text-some",
    control_name="text-mle",
    model=CONTROL,
    control=CONTROL,
    real=Point(temperature=None, lm=6.0, rlm=6.2, bleu_4=0.18, self_bleu_4=0.17),
    samples=1500,
    reverse_samples=10_000,
    seed=0,
    evaluator="zoo:text-evaluator-x-v1",
    data="x",
)


def moved(lm: float, rlm: float) -> Curve:
    model = tuple(replace(point, lm=point.lm + lm, rlm=point.rlm + rlm) for point in CONTROL)
    return replace(AN_EXAMPLE, model=model)


def test_a_gap_is_measured_at_equal_quality():
    """Over the range of the first number that both have, straight from point to point."""
    found = compute_gap(line((1, 5), (3, 5)), line((0, 6), (2, 8)), tie=0.1)
    assert (found.start, found.end) == (1, 2)
    assert found.mean == pytest.approx(2.5)
    assert (found.better, found.worse) == (1, 0)


def test_lines_that_cross_are_better_and_worse():
    """Neither dominates, and differences by chance do not count."""
    found = compute_gap(line((0, 0), (1, 1)), line((0, 1), (1, 0)), tie=0.2)
    assert found.mean == pytest.approx(0, abs=1e-9)
    assert found.better == pytest.approx(0.4, abs=0.01)
    assert found.worse == pytest.approx(0.4, abs=0.01)


def test_sharpening_alone_is_no_win():
    """A model that is its control at other temperatures lies on its curve, whatever single points suggest."""
    control = line((5.0, 6.6), (5.5, 6.5), (6.0, 6.55))
    model = line((5.25, 6.55), (5.5, 6.5), (5.75, 6.525))
    assert model[0, 0] < control[1, 0]  # its first point has a better LM score than the control's second
    found = compute_gap(model, control, tie=TIE_NATS)
    assert (found.better, found.worse) == (0, 0)


@pytest.mark.parametrize(
    ("lm", "rlm", "says"),
    [
        (0, 0, "text-some and its control text-mle are level"),
        (
            0,
            -0.3,
            "text-some wins over its control text-mle: at equal LM score (5.00 to 6.00) its RLM is 0.300 nats",
        ),
        (0, 0.3, "text-some loses to its control text-mle"),
        (9, 0.3, "text-some loses to its control text-mle: they share no LM score"),
        (-9, -0.3, "text-some wins over its control text-mle: they share no LM score"),
        (9, -0.3, "cannot be compared"),
    ],
)
def test_the_verdict_is_one_sentence_that_says_who_wins(lm, rlm, says):
    """By both curves at equal quality, never by a point."""
    verdict = moved(lm, rlm).verdict
    assert says in verdict
    assert verdict.endswith(".")
    assert verdict.count(". ") == 0


def test_one_point_is_compared_with_the_controls_curve():
    """A model without a temperature is compared at its own quality, with what the control has there."""
    single = replace(AN_EXAMPLE, model=points((5.25, 6.75, 0.27, 0.4)))
    assert single.reverse_gap.mean == pytest.approx(-0.2)
    assert "loses to its control text-mle: at equal LM score (5.25) its RLM is 0.200 nats higher, " in single.verdict


def test_a_model_without_a_temperature_is_sampled_once(store: Store):
    """And its control at all of them."""
    one_shot = Fake(cycles(400, seed=1), likelihood=False)
    found = compare_curves(one_shot, Heated(), store, SETTINGS, (0.8, 1.2))
    assert [point.temperature for point in found.model] == [None]
    assert len(found.control) == 2
    assert "temperature" not in one_shot.asked[0]
    assert len(one_shot.asked) == 1
    found.draw()


def test_a_curve_that_crosses_wins_and_loses():
    """It is said, and where neither is ahead by more than chance it is no win."""
    low, middle, high = CONTROL
    crossing = (replace(low, rlm=low.rlm - 0.1), middle, replace(high, rlm=high.rlm + 0.1))
    assert "at some qualities and loses at others" in replace(AN_EXAMPLE, model=crossing).verdict


def test_both_models_are_sampled_at_all_temperatures(store: Store):
    """Points by rising temperature; a model of few different texts loses to a control of many, and it is said."""
    reported: list[tuple[int, int]] = []
    model, control = Heated(variety=0.05), Heated()

    found = compare_curves(
        model,
        control,
        store,
        SETTINGS,
        (1.2, 0.8),
        name="few",
        progress=lambda done, total: reported.append((done, total)),
    )

    assert [point.temperature for point in found.model] == [point.temperature for point in found.control] == [0.8, 1.2]
    assert [options["temperature"] for options in control.asked] == [0.8, 1.2]
    assert found.control[0].lm < found.control[1].lm
    assert found.control[0].bleu_4 > found.control[1].bleu_4
    assert found.reverse_gap.worse == 1
    assert "few loses to its control maximum likelihood" in found.verdict
    assert reported == [(i, 5) for i in range(1, 6)]


def test_the_real_point_is_real_vs_real_of_the_evaluation(store: Store):
    """What `evaluate` gives for real against real is the point of real texts in the picture."""
    expected = {metric.name: metric.real_vs_real for metric in evaluate(Heated(), store, SETTINGS)}
    real = compare_curves(Heated(), Heated(), store, SETTINGS, (0.9, 1.0)).real
    for name in ("lm", "rlm", "bleu_4", "self_bleu_4"):
        assert getattr(real, name) == pytest.approx(expected[name]), name


def test_the_table_names_every_point_and_the_verdict():
    """One row a point, what is needed to get it again, and the sentence."""
    table = AN_EXAMPLE.table()
    assert [row.split()[0] for row in table.splitlines()[1:8]] == ["text-some"] * 3 + ["text-mle"] * 3 + ["real"]
    assert "seed 0, LM by zoo:text-evaluator-x-v1, test split of x" in table
    assert table.splitlines()[-1] == AN_EXAMPLE.verdict
    assert AN_EXAMPLE.to_dict()["model"][0]["lm"] == 5.0


def test_the_same_curve_is_the_same_picture(tmp_path: Path):
    """Its bytes have no date and depend on no setting of the user."""
    import matplotlib

    first = AN_EXAMPLE.save(tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50}):
        assert AN_EXAMPLE.save(tmp_path / "b.png").read_bytes() == first


def test_the_picture_shows_both_curves_and_the_real_texts(tmp_path: Path):
    """A PNG that has the colors of all three series; another format is refused."""
    path = moved(0.1, 0.2).save(tmp_path / "curve.png")
    colors = {color for _, color in Image.open(path).convert("RGB").getcolors(1 << 24)}
    assert {(0x7A, 0x87, 0x94), (0xC2, 0x41, 0x0C), (0x11, 0x11, 0x11)} <= colors
    with pytest.raises(InvalidValueError, match=r"\.png"):
        AN_EXAMPLE.save(tmp_path / "curve.svg")


@pytest.mark.parametrize(
    ("temperatures", "samples", "message"),
    [
        ((1.0,), 60, "at least 2"),
        ((0, 1), 60, "above 0"),
        ((1.0, np.inf), 60, "above 0"),
        ((0.9, 1.0), 101, "100 held-out"),
    ],
)
def test_unusable_arguments_are_refused(store: Store, temperatures, samples, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        compare_curves(Heated(), Heated(), store, replace(SETTINGS, samples=samples), temperatures)
