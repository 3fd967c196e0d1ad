import numpy as np
import pytest

from towers.index.affine import affine, product, rows


@pytest.mark.parametrize("n", [0, 1, 5, 6, 13])
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (7, 15), (10, 16), (3, 64), (9, 83), (64, 128)])
def test_products_are_numpy_s(n: int, depth: int, width: int) -> None:
    rng = np.random.default_rng(n)
    x, w, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((n, depth), (depth, width), width))
    out = np.full((n, width), np.nan, np.float32)
    affine(x, w, bias, out)
    np.testing.assert_allclose(out, x.astype(np.float64) @ w + bias, atol=1e-5)
    product(x, w, out)
    np.testing.assert_allclose(out, x.astype(np.float64) @ w, atol=1e-5)


def test_only_the_rows_columns_and_depth_asked_for_are_touched() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 12)).astype(np.float32), rng.normal(size=(12, 40)).astype(np.float32)
    out = np.full((9, 40), 7, np.float32)
    rows(x[:, 2:], w[:, 4:], np.zeros(36, np.float32), out[:, 4:], (6, 20, 5))
    expected = np.full((9, 40), 7, np.float32)
    expected[6:, 4:24] = x[6:, 2:7] @ w[:5, 4:24]
    np.testing.assert_allclose(out, expected, atol=1e-5)
