import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InvalidValueError
from zoo.metrics.swd import _blur, _compute_level, _cut_descriptors, _cut_patches, _grow, _shrink, _wasserstein
from zoo.metrics.swd import sliced_wasserstein as swd


def images(n: int = 8, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_set_is_at_zero_from_itself_at_every_level():
    """One distance for each resolution down to 16 px, and each of them 0."""
    assert swd(images(size=64), images(size=64), seed=0, num_directions=32) == {64: 0, 32: 0, 16: 0}


def test_distance_of_numbers_is_the_mean_gap_of_sorted_ones():
    """In one dimension a shift moves every number by its size, in whatever order; scipy agrees on any two sets."""
    numbers = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    shifts = torch.tensor([0.0, 1.0, -2.5])
    torch.testing.assert_close(_wasserstein(numbers, numbers.flip(0) + shifts), shifts.abs().double())
    stats = pytest.importorskip("scipy.stats")
    a, b = numbers[:, 0], numbers[:, 1] ** 2
    assert _wasserstein(a[:, None], b[:, None]).item() == pytest.approx(stats.wasserstein_distance(a, b))


def test_the_blur_is_the_binomial_filter_mirrored_at_the_borders():
    """The same as scipy's correlation with outer([1, 4, 6, 4, 1]) / 256 in mode "mirror"."""
    ndimage = pytest.importorskip("scipy.ndimage")
    some = images(2, 16)
    taps = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    expected = ndimage.correlate(some.numpy(), taps[None, None], mode="mirror")
    torch.testing.assert_close(_blur(some), torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_the_pyramid_gives_the_image_back():
    """Growing the coarsest level and adding the details of the finer ones, in turn, restores the image."""
    original = images(2, 64)
    restored = _compute_level(original, 2)
    for level in (1, 0):
        restored = _grow(restored) + _compute_level(original, level)
    torch.testing.assert_close(restored, original, rtol=0, atol=1e-6)
    torch.testing.assert_close(_compute_level(original, 2), _shrink(_shrink(original)))


def test_flat_images_have_no_detail():
    """Growing keeps a constant: all levels but the coarsest are 0."""
    flat = torch.full((1, 3, 32, 32), 0.3)
    assert _compute_level(flat, 0).abs().max() < 1e-6


def test_patches_are_cut_where_the_corners_say():
    """Row and column of a corner are those of the patch's first pixel, of each image its own."""
    some = images(2, 16)
    patches = _cut_patches(some, torch.tensor([[0, 9], [4, 2]]), torch.tensor([[0, 9], [1, 3]]))
    assert patches.shape == (2, 2, 3, 7, 7)
    torch.testing.assert_close(patches[0, 1], some[0, :, 9:16, 9:16])
    torch.testing.assert_close(patches[1, 0], some[1, :, 4:11, 1:8])


def test_descriptors_have_mean_zero_and_deviation_one_in_each_channel():
    """Normalization is over all patches of the set, channel by channel; a constant channel becomes 0."""
    some = images(6, 16) * torch.tensor([1.0, 5.0, 0.0]).view(3, 1, 1) + 7
    corners = torch.randint(10, (2, 6, 20), generator=torch.Generator().manual_seed(0))
    channels = _cut_descriptors(some, 0, corners).view(120, 3, 49).double()
    torch.testing.assert_close(channels.mean((0, 2)), torch.zeros(3).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(channels.std((0, 2)), torch.tensor([1.0, 1, 0]).double(), rtol=0, atol=1e-3)


@given(seed=st.integers(0, 999), gain=st.floats(0.1, 10), offset=st.floats(-5, 5))
@settings(max_examples=10, deadline=None)
def test_brightness_and_contrast_of_a_set_do_not_count(seed, gain, offset):
    """A set and its affine copy are at 0, and the distance is symmetric."""
    a, b = images(4, 16, seed), images(4, 16, seed + 1000) ** 3
    assert swd(a, a * gain + offset, seed=seed, num_directions=16)[16] == pytest.approx(0, abs=0.1)
    forth, back = swd(a, b, seed=seed, num_directions=16), swd(b, a, seed=seed, num_directions=16)
    assert forth == pytest.approx(back)


def test_a_change_shows_at_its_scale():
    """Blurred copies differ more at the finest level than at the coarsest; fresh ones differ little anywhere."""
    reals, others = images(64, 64), images(64, 64, seed=1)
    blurred, fresh = (swd(reals, fakes, seed=0, num_directions=32) for fakes in (_blur(others), others))
    assert blurred[64] > 3 * fresh[64]
    assert blurred[64] > 2 * blurred[16]


def test_the_seed_alone_decides():
    """Same seed, same distances, whatever the global generator; another seed, others."""
    a, b = images(4, 16), images(4, 16, seed=1)
    first = swd(a, b, seed=5)
    torch.manual_seed(99)
    assert swd(a, b, seed=5) == first
    assert swd(a, b, seed=6) != first


def test_more_images_than_are_held_at_once_change_nothing(monkeypatch):
    """The batches in which pyramids are built do not show."""
    a, b = images(9, 16), images(9, 16, seed=1)
    whole = swd(a, b, seed=0)
    monkeypatch.setattr("zoo.metrics.swd.IMAGES_AT_ONCE", 4)
    assert swd(a, b, seed=0) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.zeros(2, 3, 16, 16), torch.zeros(3, 3, 16, 16), "one shape"),
        (torch.zeros(2, 3, 16, 32), torch.zeros(2, 3, 16, 32), "square"),
        (torch.zeros(2, 3, 48, 48), torch.zeros(2, 3, 48, 48), "power of two"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), "power of two"),
        (torch.full((2, 3, 16, 16), torch.nan), torch.zeros(2, 3, 16, 16), "finite"),
    ],
)
def test_unusable_images_are_refused(real, fake, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        swd(real, fake, seed=0)
