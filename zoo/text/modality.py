"""Text: rows of tokens, their data sets and their metrics."""

from __future__ import annotations

from zoo.modality import Kind, KindMetrics, Modality
from zoo.text.data.datasets import DATASETS, TextDataConfig, build_dataset, decode, open_store


def load_metrics() -> KindMetrics:
    """Import the metrics of texts."""
    from zoo.text.metrics.curve import compare_curves
    from zoo.text.metrics.evaluate import evaluate, held_out
    from zoo.text.metrics.evaluator import Evaluator

    return KindMetrics(evaluate=evaluate, held_out=held_out, compare_curves=compare_curves, evaluator=Evaluator)


TEXTS = Kind(
    data_config=TextDataConfig,
    datasets=DATASETS,
    open_store=open_store,
    build_dataset=build_dataset,
    decode=decode,
    load_metrics=load_metrics,
    has_pixels=False,
)

MODALITY = Modality(
    name="text",
    kinds=(TEXTS,),
    pipeline_tag="text-generation",
    risks="It writes what such texts look like, not what is true, and may repeat lines of its training data. Do not "
    "pass its texts off as somebody's.",
)
