"""Video: clips, their data sets and their metrics."""

from __future__ import annotations

from zoo.modality import Kind, KindMetrics, Modality
from zoo.video.data.datasets import DATASETS, ClipDataConfig, augment, build_dataset, decode, open_store


def load_metrics() -> KindMetrics:
    from zoo.video.metrics.evaluate import evaluate, held_out
    from zoo.video.metrics.evaluator import Evaluator

    return KindMetrics(evaluate=evaluate, held_out=held_out, evaluator=Evaluator,
                       other_features="i3d:FILE, a network of recorded actions")  # fmt: skip


CLIPS = Kind(
    data_config=ClipDataConfig,
    datasets=DATASETS,
    open_store=open_store,
    build_dataset=build_dataset,
    decode=decode,
    augment=augment,
    load_metrics=load_metrics,
)

MODALITY = Modality(
    name="video",
    kinds=(CLIPS,),
    risks="Samples are made up, and must not be passed off as recordings of something that happened.",
    metric_notes={
        "average_content_distance": "For `average_content_distance`, real against real is the value of the real test "
        "clips; clips without motion have 0.",
        "motion_control_score": "For `motion_control_score`, real against real is how often the classifier knows the "
        "class of a real test clip.",
    },
)
