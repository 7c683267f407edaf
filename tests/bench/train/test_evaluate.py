from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import BenchError
from bench.spec.sections import Evaluation
from bench.train.classes import _starts, classes_of
from bench.train.evaluate import BATCH_PIXELS, WAITING, WAITING_PIXELS, Sample, batch_of, describe, evaluate, in_batches
from bench.train.metrics import Tally, confusion_matrix, score
from datasets.folder import Folder, FolderConfig

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Scores each pixel by itself: class 0 dark, class 1 bright; so every mode must give the same scores."""

    def forward(self, image: Tensor) -> Tensor:
        grey = image.mean(1, keepdim=True)
        return torch.cat([4 * (0.5 - grey), 4 * (grey - 0.5)], 1)


class Corner(nn.Module):
    """Score depends on the position inside the given view, so padding and windows show."""

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.arange(image.shape[2]).float().view(1, 1, -1, 1)
        return torch.cat([rows.expand(len(image), 1, -1, image.shape[3]), image[:, :1]], 1)


def samples(sizes: list[tuple[int, int]]) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    draw = np.random.default_rng(0)
    made = []
    for height, width in sizes:
        image = draw.integers(0, 256, (height, width, 3)).astype(np.uint8)
        mask = draw.integers(0, 2, (height, width)).astype(np.uint8)
        mask[0] = 255
        made.append((image, mask))
    return made


@pytest.mark.parametrize(
    "config",
    [
        Evaluation(),
        Evaluation(mode="padded", size=(40, 50)),
        Evaluation(mode="sliding", size=(16, 16)),
        Evaluation(mode="sliding", size=(16, 20), stride=(5, 7)),
        Evaluation(mode="sliding", size=(64, 64)),
    ],
)
def test_every_mode_agrees_with_the_plain_count_for_a_pixelwise_predictor(config: Evaluation) -> None:
    data = samples([(30, 40), (30, 40), (25, 33), (30, 40)])
    expected = torch.zeros(2, 2, dtype=torch.int64)
    for image, mask in data:
        bright = torch.from_numpy(image).float().mean(2) > 127.5
        expected += confusion_matrix(bright.long(), torch.from_numpy(mask), 2)
    assert evaluate(Brightness(), data, 2, config, CPU) == score(expected)


def test_padding_is_reflected_and_cut_away() -> None:
    image = torch.rand(1, 3, 5, 4)
    found = classes_of(Corner(), image, Evaluation(mode="padded", size=(9, 12)))
    padded = torch.from_numpy(np.pad(image.numpy(), [(0, 0), (0, 0), (0, 4), (0, 8)], mode="reflect"))
    assert torch.equal(found.long(), Corner()(padded)[:, :, :5, :4].argmax(1))


def test_sliding_windows_average_probabilities() -> None:
    image = torch.rand(1, 3, 6, 4)
    found = classes_of(Corner(), image, Evaluation(mode="sliding", size=(4, 4), stride=(2, 4)))
    total, count = torch.zeros(1, 2, 6, 4), torch.zeros(6, 4)
    for top in (0, 2):
        total[:, :, top : top + 4] += Corner()(image[:, :, top : top + 4]).softmax(1)
        count[top : top + 4] += 1
    assert torch.equal(found.long(), (total / count).argmax(1))


@pytest.mark.parametrize(("length", "window", "stride"), [(10, 4, 3), (10, 4, 4), (4, 4, 2), (11, 4, 2)])
def test_windows_cover_everything_and_stay_inside(length: int, window: int, stride: int) -> None:
    starts = _starts(length, window, stride)
    covered = {p for s in starts for p in range(s, s + window)}
    assert covered == set(range(length))


def test_an_image_larger_than_the_padded_size_is_refused() -> None:
    with pytest.raises(BenchError, match="30×40 is larger than 20×50"):
        evaluate(Brightness(), samples([(30, 40)]), 2, Evaluation(mode="padded", size=(20, 50)), CPU)


def test_mode_of_the_module_is_restored() -> None:
    module = Brightness().train()
    evaluate(module, samples([(8, 8)]), 2, Evaluation(), CPU)
    assert module.training


def test_samples_of_one_shape_come_together_though_others_lie_between_and_none_is_lost() -> None:
    data = samples([(30, 40), (40, 30)] * 6 + [(20 + i, 30) for i in range(40)])
    batches = list(in_batches(iter(data), Evaluation(batch_size=4), 2))
    assert [len(b) for _, b in batches[:2]] == [4, 4]
    assert all(len({s[0].shape for s in batch}) == 1 for _, batch in batches)
    assert sorted(place for places, _ in batches for place in places) == list(range(len(data)))
    assert all(s is data[place] for places, batch in batches for place, s in zip(places, batch, strict=True))


@pytest.mark.parametrize("waiting", [Tally.WAITING, 20])
def test_each_image_has_its_matrix_in_the_order_of_the_samples(monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    """Images of three shapes that are batched in another order, one of them void; counted pixel by pixel here."""
    monkeypatch.setattr(Tally, "WAITING", waiting)
    data = samples([(6, 4), (4, 6), (3, 5)] * 5 + [(6, 4)])
    data[4][1][:] = 255
    found = evaluate(Brightness(), data, 2, Evaluation(batch_size=3), CPU)
    assert found.images is not None
    for (image, mask), matrix in zip(data, found.images.matrices(), strict=True):
        expected = [[0, 0], [0, 0]]
        for pixel, label in zip(image.reshape(-1, 3), mask.reshape(-1), strict=True):
            if label != 255:
                expected[label][int(pixel.astype(float).mean() > 127.5)] += 1
        assert matrix.tolist() == expected
    assert found == score(torch.from_numpy(found.images.total()))


def test_few_samples_wait_for_others_of_their_shape() -> None:
    taken = 0

    def counted() -> Iterator[Sample]:
        nonlocal taken
        for sample in samples([(20 + i, 30) for i in range(100)]):
            taken += 1
            yield sample

    given = 0
    for _, batch in in_batches(counted(), Evaluation(batch_size=2), 2):
        given += len(batch)
        assert taken - given <= WAITING * 2
    assert given == 100


def test_large_images_are_evaluated_alone_and_few_wait() -> None:
    """Shapes alone are asked for, so no image takes memory."""

    def empty(height: int, width: int) -> Sample:
        return np.broadcast_to(np.uint8(0), (height, width, 3)), np.broadcast_to(np.uint8(0), (height, width))

    half = BATCH_PIXELS // 2000
    shapes = [(4, 2000), (half, 1000), (half + 1, 1000), (4, 2000), (half, 1000)]
    batches = [
        [sample[0].shape[:2] for sample in batch]
        for _, batch in in_batches((empty(*s) for s in shapes), Evaluation(), 2)
    ]
    assert batches == [[(half + 1, 1000)], [(half, 1000)] * 2, [(4, 2000)] * 2]
    taken, given, largest = 0, 0, 2000 * 2000

    def counted() -> Iterator[Sample]:
        nonlocal taken
        for i in range(20):
            taken += 1
            yield empty(2000, 2000 - i)

    for _, batch in in_batches(counted(), Evaluation(batch_size=2), 2):
        given += len(batch)
        assert (taken - given) * largest <= WAITING_PIXELS + largest
    assert given == 20


def test_many_classes_make_batches_of_windows_smaller() -> None:
    sliding = Evaluation(mode="sliding", size=(512, 512))
    assert [batch_of((1024, 2048), sliding, k) for k in (19, 100, 150)] == [4, 1, 1]
    assert [batch_of((500, 375), sliding, k) for k in (21, 150)] == [4, 3]
    assert batch_of((1024, 2048), Evaluation(), 150) == 4


@pytest.mark.parametrize("shape", [(4, 6), (3, 8), (12, 16), (24, 1)])
def test_a_mask_of_another_size_is_refused_by_name(shape: tuple[int, int]) -> None:
    (image, _), good = samples([(6, 4)])[0], samples([(6, 4)])[0]
    bad = image, np.zeros(shape, np.uint8)
    with pytest.raises(BenchError, match=rf"^b: the mask is {shape[0]}×{shape[1]} pixels, .*image.* 6×4 "):
        evaluate(Brightness(), [good, bad], 2, Evaluation(batch_size=1), CPU, name="ab".__getitem__)


def test_the_ignored_class_is_out_of_the_mean_alone() -> None:
    data = samples([(30, 40)] * 3)
    whole, rest = (evaluate(Brightness(), data, 2, Evaluation(), CPU, ignored=i) for i in ((), {0}))
    assert rest.iou == whole.iou and rest.pixel_accuracy == whole.pixel_accuracy
    assert rest.miou == whole.iou[1] != whole.miou
    assert rest.images is not None and whole.images is not None
    assert np.array_equal(rest.images.matrices(), whole.images.matrices())


def test_without_samples_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        evaluate(Brightness(), [], 2, Evaluation(), CPU)


def test_a_sliding_window_is_named_with_the_stride_in_effect(tmp_path: Path) -> None:
    dataset = Folder(FolderConfig(), tmp_path)
    texts = [
        describe(Evaluation(mode="sliding", size=(512, 1024), stride=stride), dataset)
        for stride in (None, (341, 682), (256, 512))
    ]
    assert texts[0] == texts[1] == "sliding 512×1024, stride 341×682, original size, val"
    assert texts[2] == "sliding 512×1024, stride 256×512, original size, val"
    assert describe(Evaluation(), dataset, "test") == "whole image, original size, test"
    ignoring = Evaluation(ignore_classes=("sky", "background"))
    assert describe(ignoring, dataset) == "whole image, original size, val, without background, sky"
