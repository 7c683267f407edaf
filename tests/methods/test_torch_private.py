"""The private interfaces of PyTorch that methods rest on: there, and doing what their public equivalents do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

ROOT = Path(__file__).parents[2]
HOME = "methods/torch_private.py"


def test_every_interface_is_still_there() -> None:
    gone = f"this PyTorch ({torch.__version__}) has no {{}}: use the public equivalent that {HOME} names"
    for name in ("_foreach_lerp_", "_foreach_copy_"):
        assert hasattr(torch, name), gone.format(f"torch.{name}")
    name = "_embedding_bag_per_sample_weights_backward"
    assert hasattr(torch.ops.aten, name), gone.format(f"torch.ops.aten.{name}")
    try:
        import torch._subclasses.fake_tensor as fake
    except ImportError:
        pytest.fail(gone.format("torch._subclasses.fake_tensor"))
    assert hasattr(fake, "FakeTensor"), gone.format("FakeTensor")


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_lerp_all_is_lerp_of_each(weight: float) -> None:
    from methods.torch_private import lerp_all_

    own = [torch.rand(3, 4), torch.rand(5)]
    new = [torch.rand(3, 4), torch.rand(5)]
    expected = [a.lerp(b, weight) for a, b in zip(own, new, strict=True)]
    lerp_all_(own, new, weight)
    for found, want in zip(own, expected, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-7)
    lerp_all_([], [], weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_copy_all_copies_each(dtype: torch.dtype) -> None:
    from methods.torch_private import copy_all_

    own, new = ([torch.full((2, 3), value, dtype=dtype), torch.tensor(value, dtype=dtype)] for value in (1, 5))
    places = [x.data_ptr() for x in own]
    copy_all_(own, new)
    assert all(torch.equal(a, b) for a, b in zip(own, new, strict=True))
    assert [x.data_ptr() for x in own] == places
    copy_all_([], [])


@pytest.mark.parametrize("index_type", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_products_are_dot_products_of_gathered_rows(dtype: torch.dtype, index_type: torch.dtype) -> None:
    from methods.torch_private import row_products

    rows, table = torch.randn(5, 7, dtype=dtype), torch.randn(11, 7, dtype=dtype)
    index, row = torch.randint(11, (40,), dtype=index_type), torch.randint(5, (40,), dtype=index_type)
    expected = (rows[row.long()] * table[index.long()]).sum(1)
    torch.testing.assert_close(row_products(rows, table, index, row), expected)


def test_fake_tensors_are_told_from_real_ones() -> None:
    from methods.torch_private import is_fake

    assert not is_fake(torch.rand(2))
    with FakeTensorMode():
        assert is_fake(torch.rand(2))


def private(path: Path) -> list[str]:
    """Return the private names of torch that a file imports or reaches through `torch`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "torch":
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch."):
            names = ast.unparse(node).split(".")
        else:
            continue
        found += [name for name in names if name.startswith("_") and not name.startswith("__")]
    return found


def test_methods_and_datasets_use_no_other_private_interface() -> None:
    files = [path for room in ("methods", "datasets") for path in (ROOT / room).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in files if private(path)} == {HOME}
