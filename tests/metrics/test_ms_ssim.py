import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InvalidValueError
from zoo.metrics.ms_ssim import EXPONENTS, count_scales, ms_ssim, pair_similarity


def images(n: int, size: int, *, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Smooth random images in [-1, 1]."""
    coarse = torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def test_one_window_agrees_with_the_formula():
    """Images of 11 px hold one window: SSIM is Wang's product of terms on pixels from 0 (black) to 1."""
    a, b = images(1, 11), images(1, 11) * 0.7 + images(1, 11, seed=1) * 0.3
    x, y = (((image + 1) / 2).numpy().squeeze() for image in (a, b))
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
    cov = (window * (x - mean_x) * (y - mean_y)).sum()
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    assert ssim > 0.1
    assert ms_ssim(a, b, num_scales=1).item() == pytest.approx(ssim)


@pytest.mark.parametrize("num_scales", [1, 3, 5])
def test_agrees_with_pytorch_msssim(num_scales):
    """On gray images, where it does not matter how channels are averaged, the package gives the same."""
    package = pytest.importorskip("pytorch_msssim")
    a, b = images(6, 192), images(6, 192) * 0.6 + images(6, 192, seed=1) * 0.4
    weights = [w / sum(EXPONENTS[:num_scales]) for w in EXPONENTS[:num_scales]]
    expected = package.ms_ssim((a + 1) / 2, (b + 1) / 2, data_range=1, size_average=False, weights=weights)
    torch.testing.assert_close(ms_ssim(a, b, num_scales=num_scales), expected, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 999), channels=st.sampled_from([1, 3]), size=st.sampled_from([16, 44, 64]))
@settings(max_examples=20, deadline=None)
def test_similarity_is_symmetric_bounded_and_one_for_equals(seed, channels, size):
    """In [0, 1], the same either way, and 1 only for an image and itself."""
    a, b = (images(2, size, channels=channels, seed=s) for s in (seed, seed + 1000))
    scales = count_scales(size, size)
    similarity = ms_ssim(a, b, num_scales=scales)
    assert ((similarity >= 0) & (similarity < 0.999)).all()
    torch.testing.assert_close(ms_ssim(b, a, num_scales=scales), similarity)
    torch.testing.assert_close(ms_ssim(a, a, num_scales=scales), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(("size", "scales"), [(11, 1), (22, 2), (32, 2), (43, 2), (44, 3), (64, 3), (88, 4), (176, 5)])
def test_size_allows_as_many_scales_as_the_window_fits_into(size, scales):
    """The last scale is at least 11 px; one scale more does not fit and is refused, save for the paper's limit of 5."""
    assert count_scales(size, 300) == scales
    a = images(1, size)
    assert ms_ssim(a, a, num_scales=scales).item() == pytest.approx(1)
    with pytest.raises(InvalidValueError, match=f"1 to {scales}"):
        ms_ssim(a, a, num_scales=scales + 1)


def test_collapse_raises_the_similarity_of_pairs():
    """Samples that repeat two images are more alike than different ones, and copies of one are at 1."""
    varied = images(60, 64, channels=3)
    diverse, two, one = (
        pair_similarity(some, seed=0, num_pairs=60) for some in (varied, _of(varied, 2), _of(varied, 1))
    )
    assert diverse.num_scales == 3
    assert diverse.mean < 0.3 < two.mean < 0.7 < one.mean
    assert one.mean == pytest.approx(1)


def _of(some: torch.Tensor, modes: int) -> torch.Tensor:
    return some[torch.arange(len(some)) % modes]


def test_no_sample_is_paired_with_itself():
    """With two different images, every pair is of both."""
    two = images(2, 16)
    similarity = pair_similarity(two, seed=0, num_pairs=50)
    assert similarity.mean == pytest.approx(ms_ssim(two[:1], two[1:], num_scales=1).item())
    assert similarity.spread == pytest.approx(0, abs=1e-9)


def test_the_seed_alone_decides_the_pairs():
    """Same seed, same value, whatever the global generator; another seed, another value."""
    some = images(20, 16)
    first = pair_similarity(some, seed=1, num_pairs=30)
    torch.manual_seed(99)
    assert pair_similarity(some, seed=1, num_pairs=30) == first
    assert pair_similarity(some, seed=2, num_pairs=30) != first


@pytest.mark.parametrize(
    ("some", "message"),
    [
        (torch.zeros(1, 3, 64, 64), "at least 2 images"),
        (torch.zeros(3, 64, 64), "at least 2 images"),
        (torch.zeros(4, 3, 8, 64), "at least 11 px"),
        (torch.full((4, 3, 64, 64), 1.5), r"\[-1, 1\]"),
        (torch.full((4, 3, 64, 64), torch.nan), r"\[-1, 1\]"),
    ],
)
def test_unusable_images_are_refused(some, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        pair_similarity(some, seed=0)


def test_unequal_shapes_are_refused():
    """Pairs need two sets of one shape."""
    with pytest.raises(InvalidValueError, match="one shape"):
        ms_ssim(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 32, 32), num_scales=1)
