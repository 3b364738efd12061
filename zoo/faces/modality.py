"""Faces: images, their data sets and their metrics."""

from __future__ import annotations

from zoo.data.images import ImageDataConfig, decode_images, flip_images
from zoo.faces.data.datasets import DATASETS, build_dataset, open_store
from zoo.modality import Kind, KindMetrics, KindSteering, Modality


def load_metrics() -> KindMetrics:
    """Import the metrics of images."""
    from zoo.faces.metrics.evaluate import evaluate, held_out
    from zoo.faces.metrics.evaluator import Evaluator

    return KindMetrics(evaluate=evaluate, held_out=held_out, evaluator=Evaluator,
                       other_features="timm:resnet18.a1_in1k, a network of photographs")  # fmt: skip


def load_steering() -> KindSteering:
    """Import what steering needs."""
    from zoo.faces.metrics.evaluator import NAME
    from zoo.faces.steering import NAMED, align, load_maps, predict_attributes

    return KindSteering(
        predict_attributes=predict_attributes,
        named=NAMED,
        load_maps=load_maps,
        default_maps=f"zoo:{NAME}",
        align=align,
    )


IMAGES = Kind(
    data_config=ImageDataConfig,
    datasets=DATASETS,
    open_store=open_store,
    build_dataset=build_dataset,
    decode=decode_images,
    augment=flip_images,
    load_metrics=load_metrics,
    load_steering=load_steering,
)

MODALITY = Modality(
    name="faces",
    kinds=(IMAGES,),
    pipeline_tag="unconditional-image-generation",
    risks="Samples are made up. One that resembles somebody does so by chance, and must not be passed off as a real "
    "picture. It shows nothing of people outside the data.",
    metric_notes={
        "faces_found": "For `faces_found`, real against real is the share of those test images in which the detector "
        "finds a face.",
        "ms_ssim": "MS-SSIM is best near its real value: above it samples are too much alike, far below it they are "
        "noise.",
    },
)
