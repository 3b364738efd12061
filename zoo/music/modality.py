"""Music: scores of notes and sounds of waves. The class of a recipe's `[data]` says which."""

from __future__ import annotations

from zoo.modality import Kind, KindMetrics, Modality
from zoo.music.data import scores, sounds


def load_score_metrics() -> KindMetrics:
    from zoo.music.metrics.scores import evaluate, held_out

    return KindMetrics(evaluate=evaluate, held_out=held_out)


def load_sound_metrics() -> KindMetrics:
    from zoo.music.metrics.evaluator import Evaluator
    from zoo.music.metrics.sounds import evaluate, held_out

    return KindMetrics(evaluate=evaluate, held_out=held_out, evaluator=Evaluator)


SCORES = Kind(
    data_config=scores.ScoreDataConfig,
    datasets=scores.DATASETS,
    open_store=scores.open_store,
    build_dataset=scores.build_dataset,
    decode=scores.decode,
    augment=scores.augment,
    load_metrics=load_score_metrics,
    has_pixels=False,
)

SOUNDS = Kind(
    data_config=sounds.SoundDataConfig,
    datasets=sounds.DATASETS,
    open_store=sounds.open_store,
    build_dataset=sounds.build_dataset,
    decode=sounds.decode,
    load_metrics=load_sound_metrics,
    has_pixels=False,
)

MODALITY = Modality(
    name="music",
    kinds=(SCORES, SOUNDS),
    risks="It may repeat bars or sounds of its training data. Compare before you publish a piece as new.",
    metric_notes={
        "class_accuracy": "For `class_accuracy`, real against real is how often the evaluator recognizes those test "
        "sounds.",
        "griffin_lim": "`griffin_lim_...` is what Griffin-Lim makes of the same spectrograms; a perfect vocoder has 0.",
    },
)
