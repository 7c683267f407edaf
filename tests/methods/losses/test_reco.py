"""ReCo's loss against a brute-force version written from its equations, and its sampling against the intended one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional as F

from bench import kernels
from methods.losses.reco import Draws, KeySampling, QuerySampling, Samples, _reached, draw, drawing, reco_loss
from tests.methods.losses.sampled import sample_indices

SETTING: Any = {"strong_threshold": 0.6, "temperature": 0.5}
LARGEST = 1 - 2**-53


@dataclass(frozen=True)
class Case:
    """Inputs of the loss."""

    representation: Tensor
    label: Tensor
    valid: Tensor
    probability: Tensor

    @property
    def args(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.representation, self.label, self.valid, self.probability


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_case(dtype: torch.dtype = torch.float64, classes: int = 5, channels: int = 7) -> Case:
    """Five classes: 1 is absent, 4 has no hard query; ignored labels and invalid pixels among the rest."""
    g = generator()
    label = torch.tensor([0, 2, 3, 4, 255])[torch.randint(5, (2, 8, 9), generator=g)]
    probability = torch.rand(2, classes, 8, 9, generator=g)
    probability[:, 4] = 0.9
    representation = torch.randn(2, channels, 8, 9, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    return Case(representation, label, torch.rand(2, 8, 9, generator=g) < 0.8, probability)


def pixels(values: list[list[float]], label: list[int], probability: float = 0.1, classes: int = 2) -> Case:
    """One image of one row, a pixel for each given feature vector, all of them valid and hard."""
    representation = torch.tensor(values, dtype=torch.float64).T[None, :, None].contiguous().requires_grad_()
    labels = torch.tensor(label)[None, None]
    return Case(representation, labels, labels >= 0, torch.full((1, classes, 1, len(label)), probability))


def present_classes(case: Case) -> list[int]:
    return sorted(set(case.label[case.valid].tolist()) - {255})


def brute_force(case: Case, samples: Samples, temperature: float) -> Tensor:
    """Equation by equation, query by query, on the pixels that were sampled."""
    rows = case.representation.permute(0, 2, 3, 1).reshape(-1, case.representation.shape[1])
    keys, present = rows.detach(), present_classes(case)
    total = rows.sum() * 0
    for c in present:
        mean = keys[(case.valid & (case.label == c)).flatten()].mean(0, keepdim=True)
        for q, negative in zip(samples.query[c], samples.negative[c], strict=True):
            if samples.active[c]:
                cosine = F.cosine_similarity(rows[q][None], torch.cat([mean, keys[negative.long()]]))
                total = total - F.log_softmax(cosine / temperature, 0)[0] / len(samples.query[c])
    return total / len(present)


def loss_and_gradient(loss: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    return loss.detach(), torch.autograd.grad(loss, case.representation)[0]


@pytest.mark.parametrize("key", ["active", "random"])
@pytest.mark.parametrize("query", ["hard", "easy", "random"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_brute_force(query: QuerySampling, key: KeySampling, dtype: torch.dtype, tolerance: float) -> None:
    case, draws = make_case(dtype), draw(5, 6, 8, seed=3)
    loss = reco_loss(*case.args, draws, **SETTING, query=query, key=key)
    samples = sample_indices(*case.args, draws, **SETTING, query=query, key=key)
    expected = brute_force(case, samples, 0.5)
    assert loss.dtype == dtype and loss > 0
    for got, want in zip(loss_and_gradient(loss, case), loss_and_gradient(expected, case), strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_one_pixel_per_class_is_the_closed_form() -> None:
    """All draws are forced: the positive is the query itself, each of the 4 negatives the other pixel."""
    case = pixels([[3.0, 0.0], [1.0, 1.0]], [0, 1])
    loss, gradient = loss_and_gradient(reco_loss(*case.args, draw(2, 3, 4, seed=0), **SETTING), case)
    cosine = 1 / math.sqrt(2)
    assert loss.item() == pytest.approx(math.log(1 + 4 * math.exp((cosine - 1) / 0.5)), abs=1e-12)
    # By hand: d loss / d cosine = 2 w, w the negatives' probability; each class counts a half; d cosine / d q as below.
    w = 4 * math.exp(cosine / 0.5) / (4 * math.exp(cosine / 0.5) + math.exp(1 / 0.5))
    want = w * torch.tensor([[0.0, cosine / 3], [cosine / 2, -cosine / 2]], dtype=torch.float64)
    torch.testing.assert_close(gradient[0, :, 0].T, want, rtol=0, atol=1e-12)


def test_constant_features_per_class_force_the_value() -> None:
    case = pixels([[2.0, 0.0]] * 3 + [[0.0, 5.0]] * 4, [0] * 3 + [1] * 4)
    loss = reco_loss(*case.args, draw(2, 16, 32, seed=1), **SETTING)
    assert loss.item() == pytest.approx(math.log(1 + 32 * math.exp(-1 / 0.5)), abs=1e-12)


def test_classes_without_queries_count_in_the_mean() -> None:
    case = pixels([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    case.probability[:, 1] = 0.9
    loss = reco_loss(*case.args, draw(2, 4, 8, seed=1), **SETTING)
    assert loss.item() == pytest.approx(math.log(1 + 8 * math.exp(-1 / 0.5)) / 2, abs=1e-12)


def nothing_valid(case: Case) -> Case:
    return replace(case, valid=torch.zeros_like(case.valid))


def all_ignored(case: Case) -> Case:
    return replace(case, label=torch.full_like(case.label, 255))


def one_class(case: Case) -> Case:
    return replace(case, label=torch.full_like(case.label, 2))


def no_hard_query(case: Case) -> Case:
    return replace(case, probability=torch.ones_like(case.probability))


@pytest.mark.parametrize("change", [nothing_valid, all_ignored, one_class, no_hard_query])
def test_zero_within_the_graph_where_nothing_is_sampled(change: Any) -> None:
    case: Case = change(make_case())
    loss, gradient = loss_and_gradient(reco_loss(*case.args, draw(5, 3, 4, seed=0), **SETTING), case)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_features_of_norm_zero_stay_finite() -> None:
    case = pixels([[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]], [0, 1, 1])
    loss, gradient = loss_and_gradient(reco_loss(*case.args, draw(2, 3, 4, seed=0), **SETTING), case)
    assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, LARGEST])
def test_extreme_draws_stay_within_the_class(uniform: float) -> None:
    case = make_case()
    draws = Draws(*(torch.full_like(x, uniform) for x in draw(5, 2, 2, seed=0)))
    samples = sample_indices(*case.args, draws, **SETTING)
    label, valid = case.label.flatten(), case.valid.flatten()
    for c in samples.active.nonzero().flatten().tolist():
        query, negative = samples.query[c], samples.negative[c].long()
        assert (label[query] == c).all() and valid[query].all()
        assert (label[negative] != c).all() and (label[negative] != 255).all() and valid[negative].all()
    assert samples.active.tolist() == [True, False, True, True, False]


def intended_negatives(case: Case, c: int, key: KeySampling) -> NDArray[np.float64]:
    """Return the probability (P,) of each pixel to be drawn as a negative of class c, straight from the equations."""
    rows = case.representation.detach().permute(0, 2, 3, 1).reshape(case.label.numel(), -1).numpy()
    group = np.where(case.valid.numpy(), case.label.numpy(), 255).ravel()
    mean = {k: rows[group == k].mean(0) for k in present_classes(case)}
    weight = {}
    for k in mean:
        cosine = mean[c] @ mean[k] / np.linalg.norm(mean[c]) / np.linalg.norm(mean[k])
        weight[k] = np.exp(cosine / 0.5) if key == "active" else 1.0
    weight[c] = 0.0
    share = np.array([weight.get(k, 0.0) / np.sum(group == k) for k in group], dtype=np.float64)
    share /= share.sum()
    return share


def chi_square(index: Tensor, intended: NDArray[np.float64]) -> float:
    """Return the p-value of the drawn indices against the intended distribution; nothing else may be drawn."""
    counts = np.bincount(index.flatten().numpy(), minlength=len(intended))
    assert counts[intended == 0].sum() == 0
    wanted = intended[intended > 0]
    if len(wanted) == 1:
        return 1.0
    return float(stats.chisquare(counts[intended > 0], wanted * counts.sum()).pvalue)


@pytest.mark.parametrize("key", ["active", "random"])
def test_negatives_follow_the_intended_distribution(key: KeySampling) -> None:
    case = make_case()
    samples = sample_indices(*case.args, draw(5, 300, 200, seed=5), **SETTING, key=key)
    assert all(chi_square(samples.negative[c], intended_negatives(case, c, key)) > 1e-3 for c in (0, 2, 3))


@pytest.mark.parametrize("query", ["hard", "easy", "random"])
def test_queries_are_uniform_over_the_intended_pixels(query: QuerySampling) -> None:
    case = make_case()
    samples = sample_indices(*case.args, draw(5, 5000, 1, seed=7), **SETTING, query=query)
    for c in (0, 2, 3):
        hard = case.probability[:, c] < 0.6
        chosen = {"hard": hard, "easy": ~hard, "random": hard | ~hard}[query]
        intended = ((case.label == c) & case.valid & chosen).flatten().double().numpy()
        assert chi_square(samples.query[c], intended / intended.sum()) > 1e-3


def test_successive_negatives_are_independent() -> None:
    case = make_case()
    negative = sample_indices(*case.args, draw(5, 200, 100, seed=11), **SETTING).negative[0].long()
    first, second = negative[:, ::2].flatten().numpy(), negative[:, 1::2].flatten().numpy()
    table = np.zeros((case.label.numel(), case.label.numel()))
    np.add.at(table, (first, second), 1)
    drawn = table.sum(1) > 0
    assert stats.chi2_contingency(table[drawn][:, drawn]).pvalue > 1e-3


def test_draws_are_a_pure_function_of_the_seed() -> None:
    first, again, other = draw(3, 4, 5, seed=1), draw(3, 4, 5, seed=1), draw(3, 4, 5, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.negative, other.negative)
    assert first.query.shape == (3, 4) and first.negative.shape == (3, 4, 5)


def test_a_gpu_samples_and_contrasts_as_a_cpu_does() -> None:
    case, draws = make_case(), draw(5, 60, 80, seed=3)
    expected = loss_and_gradient(reco_loss(*case.args, draws, **SETTING), case)
    with kernels.assuming("cuda"):
        torch.testing.assert_close(loss_and_gradient(reco_loss(*case.args, draws, **SETTING), case), expected)


def test_draws_begun_ahead_are_the_same() -> None:
    begun = drawing(3, 4, 5, seed=1, device=torch.device("cpu"))()
    assert all(torch.equal(a, b) for a, b in zip(begun, draw(3, 4, 5, seed=1), strict=True))


def test_channels_last_gives_the_same() -> None:
    case, draws = make_case(), draw(5, 6, 8, seed=3)
    stored = case.representation.detach().to(memory_format=torch.channels_last).requires_grad_()
    other = replace(case, representation=stored)
    results = [loss_and_gradient(reco_loss(*c.args, draws, **SETTING), c) for c in (case, other)]
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.bfloat16, 1e-2)])
def test_bf16_autocast_computes_in_float32(dtype: torch.dtype, tolerance: float) -> None:
    case, draws = make_case(torch.float32), draw(5, 32, 64, seed=3)
    reference, _ = loss_and_gradient(reco_loss(*case.args, draws, **SETTING), case)
    lower = replace(case, representation=case.representation.detach().to(dtype).requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradient = loss_and_gradient(reco_loss(*lower.args, draws, **SETTING), lower)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, reference, rtol=tolerance, atol=0)


def test_compiles_as_one_graph() -> None:
    """A graph break, which a data-dependent shape or a wait for the device would need, is an error here."""
    case, draws = make_case(torch.float32), draw(5, 6, 8, seed=3)
    compiled = torch.compile(reco_loss, backend="eager", fullgraph=True)
    got = loss_and_gradient(compiled(*case.args, draws, **SETTING), case)
    torch.testing.assert_close(got, loss_and_gradient(reco_loss(*case.args, draws, **SETTING), case))


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_runs_on_fake_tensors(device_type: str) -> None:
    case = make_case(torch.float32)
    with FakeTensorMode() as mode, kernels.assuming(device_type):
        fake = Case(*(mode.from_tensor(x) for x in case.args))
        loss, gradient = loss_and_gradient(reco_loss(*fake.args, draw(5, 6, 8, seed=3), **SETTING), fake)
    assert loss.shape == () and gradient.shape == case.representation.shape


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_peak_memory_at_the_papers_setting(device_type: str) -> None:
    """Everything above the inputs, the gradient (54 MB) included, stays below 250 MB; gathered keys would be 2.8 GB."""
    tracker = MemTracker()
    with FakeTensorMode(), kernels.assuming(device_type):
        label = torch.zeros(8, 81, 81, dtype=torch.long)
        inputs = torch.randn(8, 256, 81, 81, requires_grad=True), label, label == 0, torch.rand(8, 21, 81, 81)
        tracker.track_external(*inputs)
        with tracker:
            torch.autograd.grad(reco_loss(*inputs, draw(21, 256, 512, seed=0), **SETTING), inputs[0])
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"] - sum(x.nbytes for x in inputs)
    assert 54e6 < peak < 250e6


@pytest.mark.parametrize("classes", [1, 2, 21, 255])  # 255 is the most that labels can name
def test_a_number_reaches_the_edges_that_searchsorted_says(classes: int) -> None:
    g = torch.Generator().manual_seed(classes)
    edge = torch.rand(classes, classes, generator=g, dtype=torch.float64).cumsum(1)
    edge = (edge / edge[:, -1:]).masked_fill(torch.arange(classes) == classes - 1, 1)
    edge[0] = 1  # a row without another class
    uniform = torch.cat([torch.rand(classes, 999, generator=g, dtype=torch.float64), edge.clamp_max(1 - 2**-53)], 1)
    uniform[:, :1] = 0
    expected = torch.searchsorted(edge, uniform, right=True)
    assert torch.equal(_reached(uniform, edge).long(), expected)
    with kernels.assuming("cuda"):
        assert torch.equal(_reached(uniform, edge).long(), expected)
