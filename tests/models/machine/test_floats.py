import numpy as np
import pytest
import torch

from towers.compiled import compiled
from towers.models.machine.floats import exp, layer_norm, rms_norm, sigmoid, softmax, tanh


@compiled
def all_three(x: np.ndarray, out: np.ndarray) -> None:
    for place in range(len(x)):
        out[0, place], out[1, place], out[2, place] = exp(x[place]), sigmoid(x[place]), tanh(x[place])


def test_functions_are_as_good_as_float32() -> None:
    x = np.linspace(-86, 87, 4001, dtype=np.float32)
    out = np.empty((3, len(x)), np.float32)
    all_three(x, out)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(out[0], np.exp(wide), rtol=3e-7)
    np.testing.assert_allclose(out[1], 1 / (1 + np.exp(-wide)), rtol=5e-7)
    np.testing.assert_allclose(out[2], np.tanh(wide), atol=3e-7)


def test_far_out_they_stay_numbers_and_no_number_stays_none() -> None:
    x = np.array([-np.inf, -1e4, 1e4, np.inf, np.nan], np.float32)
    out = np.empty((3, 5), np.float32)
    all_three(x, out)
    np.testing.assert_allclose(out[1], [0, 0, 1, 1, np.nan], atol=1e-37)
    np.testing.assert_allclose(out[2], [-1, -1, 1, 1, np.nan])
    assert out[0, :4].tolist() == [out[0, 0], out[0, 0], out[0, 3], out[0, 3]]
    assert 0 < out[0, 0] < 2e-38
    assert 1e38 < out[0, 3] < np.inf


def test_a_softmax_leaves_what_comes_after_alone() -> None:
    logits = np.array([500.0, 499.0, -200.0, 7.0], np.float32)
    scale = softmax(logits, 3)
    e = np.exp(-1)
    np.testing.assert_allclose(logits, [1, e, 0, 7], rtol=1e-6)
    assert scale == pytest.approx(1 / (1 + e), rel=1e-6)
    assert np.isnan(softmax(np.array([1, np.nan, 2], np.float32), 3))


def test_norms_are_torch_s() -> None:
    x = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)) * 5 + 1
    out, weights = np.empty((3, 10), np.float32), torch.rand(2, 10)
    rms_norm(x.numpy(), out)
    np.testing.assert_allclose(out, torch.nn.RMSNorm(10)(x).detach(), atol=1e-6)
    layer_norm(x.numpy(), weights.numpy(), out)
    np.testing.assert_allclose(out, torch.nn.functional.layer_norm(x, (10,), *weights), atol=2e-6)
