"""A product is the sum of products, by either routine and for any layout of its factors."""

import pytest
import torch
from torch import Tensor

from quantd.training.networks.products import product

SIZES = [(3, 4, 5), (256, 256, 256), (40, 300, 256)]


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(rows: int, columns: int, layout: str, seed: int) -> Tensor:
    values = torch.randn((rows, columns + 7), generator=random_of(seed))
    if layout == "part":
        return values[:, :columns]
    return values[:, :columns].t().contiguous().t() if layout == "across" else values[:, :columns].contiguous()


@pytest.mark.long
@pytest.mark.parametrize("layout", ["whole", "across", "part"])
@pytest.mark.parametrize("size", SIZES)
def test_a_product_is_that_of_exact_arithmetic(size: tuple[int, int, int], layout: str) -> None:
    rows, terms, columns = size
    multiplicand, multiplier = drawn(rows, terms, layout, 1), drawn(terms, columns, layout, 2)
    bias = torch.randn(columns, generator=random_of(3))
    exact = multiplicand.double() @ multiplier.double()
    torch.testing.assert_close(product(multiplicand, multiplier).double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(product(multiplicand, multiplier, bias).double(), exact + bias, rtol=1e-4, atol=1e-4)
