"""ReCo's views at their limits: ranges, sizes, threads, memory on a GPU that is not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.arrays import UInt8
from bench.errors import BenchError
from bench.seeds import rng
from tests.datasets.augmentation.test_reco import SIZE, augmentation, batch, generators, scene, strong


def test_images_stay_in_the_unit_range() -> None:
    extreme = augmentation(jitter_p=1.0, blur_p=1.0, brightness=(0.2, 3), contrast=(0.1, 4), saturation=(0, 5))
    found, _, _ = strong(extreme.strong(generators(8), "cpu"), *batch(8))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6


@pytest.mark.parametrize("size", [(30, 90), (100, 20), (4, 3), (1, 1), SIZE, (70, 90)])
def test_weak_views_are_crops(size: tuple[int, int]) -> None:
    image, _ = scene((70, 90))
    image = np.ascontiguousarray(image[: size[0], : size[1]]) if size[0] <= 70 else np.vstack([image, image])[:, :20]
    crop = augmentation().weak_view(image, rng(0, "weak"))
    assert crop.shape == (*SIZE, 3)
    height, width = min(SIZE[0], image.shape[0]), min(SIZE[1], image.shape[1])
    part = crop[:height, :width]
    places = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    assert (places == part).all((2, 3, 4)).any()
    expected = np.pad(part, ((0, SIZE[0] - height), (0, SIZE[1] - width), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(crop, expected)


def test_labelled_views_of_images_far_smaller_than_the_crop() -> None:
    image, mask = (x[:3, :4] for x in scene())
    found, label = augmentation(scale=(0.2, 0.5)).labelled_view(image, mask, rng(0, "small"))
    assert found.shape == (*SIZE, 3)
    assert (label != 255).any()
    assert (label == 255).mean() > 0.9


def test_a_mask_of_another_size_is_an_error() -> None:
    image, mask = scene()
    with pytest.raises(BenchError, match="an image is 90x70 but its mask 80x70"):
        augmentation().labelled_view(image, mask[:, :80], rng(0, "x"))


def test_host_views_can_be_made_on_threads() -> None:
    augment = augmentation()
    scenes = [scene(seed=i) for i in range(8)]

    def view(i: int) -> tuple[UInt8, UInt8]:
        return augment.labelled_view(*scenes[i % 8], rng(0, "thread", i))

    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(view, range(64)))
    for i, (image, mask) in enumerate(threaded):
        np.testing.assert_array_equal(image, view(i)[0])
        np.testing.assert_array_equal(mask, view(i)[1])


def test_memory_can_be_predicted_for_a_gpu_that_is_not_there() -> None:
    augment = augmentation()
    with FakeTensorMode():
        inputs = [x.to("cuda") for x in (torch.rand(4, 3, *SIZE), torch.zeros(4, *SIZE).long(), torch.rand(4, *SIZE))]
        found, label, _ = strong(augment.strong(generators(4), "cuda"), *inputs)
        assert (found.device.type, found.shape, label.shape) == ("cuda", (4, 3, *SIZE), (4, *SIZE))
