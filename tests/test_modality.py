"""What each kind of samples provides to the shared code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.modality import Kind, load_modality
from zoo.music.data.midi import HELD, STRUCK
from zoo.noise import Noise

SHAPES = {
    "faces": (np.uint8, (16, 16, 3)),
    "text": (np.uint16, (20,)),
    "scores": (np.uint8, (2, 32, 36)),
    "sounds": (np.int16, (256,)),
    "video": (np.uint8, (4, 16, 16, 3)),
}
"""The type and shape of a stored row of each kind."""

KINDS: dict[str, Kind] = {
    "faces": load_modality("faces").kinds[0],
    "text": load_modality("text").kinds[0],
    "scores": load_modality("music").kinds[0],
    "sounds": load_modality("music").kinds[1],
    "video": load_modality("video").kinds[0],
}


def make_rows(name: str) -> np.ndarray:
    dtype, shape = SHAPES[name]
    rng = np.random.default_rng(0)
    if name == "scores":  # two voices that have room
        rows = np.zeros((40, *shape), dtype)
        for i, start in enumerate(rng.integers(8, 28, 40)):
            rows[i, :, 4, start], rows[i, 0, 5:9, start] = STRUCK, HELD
        return rows
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (40, *shape), dtype, endpoint=True)


def see(kind: Kind, rows: Tensor) -> Tensor:
    """Return what the networks see of stored rows, changed at random where the kind does that."""
    return kind.decode(rows if kind.augment is None else kind.augment(rows, Noise(0)))


@pytest.mark.parametrize("name", SHAPES)
def test_rows_are_decoded_as_arrays_and_as_tensors(name: str):
    """A store gives arrays, a device tensors: the same numbers; what was given is not changed."""
    rows = make_rows(name)
    kept = rows.copy()
    plain = KINDS[name].decode(rows)

    assert torch.equal(plain, KINDS[name].decode(torch.from_numpy(rows)))
    seen = see(KINDS[name], torch.from_numpy(rows))
    assert seen.shape == plain.shape
    assert torch.equal(seen, plain) == (KINDS[name].augment is None)
    assert np.array_equal(rows, kept)


@pytest.mark.parametrize("name", SHAPES)
def test_rows_are_decoded_where_they_are(name: str):
    """Nothing goes back to the host: a device without numbers knows the shape of the result."""
    rows = torch.from_numpy(make_rows(name))
    seen, expected = see(KINDS[name], rows.to("meta")), see(KINDS[name], rows)

    assert seen.device.type == "meta"
    assert (seen.shape, seen.dtype, seen.stride()) == (expected.shape, expected.dtype, expected.stride())


@pytest.mark.gpu
@pytest.mark.parametrize("name", SHAPES)
def test_a_gpu_sees_what_the_cpu_sees(name: str):
    """Each image that is mirrored and each window that is transposed, to rounding."""
    rows = torch.from_numpy(make_rows(name))
    torch.testing.assert_close(see(KINDS[name], rows.to("cuda")).cpu(), see(KINDS[name], rows))
