"""Functions of floats that LLVM can take sixteen at a time, and norms."""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import REORDERED, compiled

ONE = np.float32(1)
_LOG2_E = np.float32(np.log2(np.e))
_HIGH, _LOW = np.float32(np.log(2)) - np.float32(1.4286068e-06), np.float32(1.4286068e-06)
_EPS = np.finfo(np.float32).eps
_NOTHING = np.float32(-60)
_LEAST, _MOST = np.float32(-87), np.float32(88)
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1 / value) for value in (2, 6, 24, 120, 720, 5040))


@compiled
def exp(x: np.float32) -> np.float32:
    """Return e^x to within 3e-7 of itself; beyond -87 and 88, e to that.

    e^x = 2^k e^r with k whole and |r| ≤ ln 2 / 2, of which Taylor's first eight terms are as good as a float32.
    """
    x = min(max(x, _LEAST), _MOST)
    k = np.floor(x * _LOG2_E + np.float32(0.5))
    r = x - k * _HIGH - k * _LOW
    series = ONE + r * (ONE + r * (_C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))))
    return series * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """Return the logistic function."""
    return ONE / (ONE + exp(-x))


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent."""
    return ONE - np.float32(2) / (ONE + exp(x + x))


@compiled
def dot(x: Float32[ndarray, " d"], y: Float32[ndarray, " d"]) -> np.float32:
    """Return an inner product."""
    total = np.float32(0)
    for place in range(len(x)):
        total += x[place] * y[place]
    return total


def _highest(x: Float32[ndarray, " n"], count: int) -> np.float32:
    """Return the highest of the first numbers; any of them where one is no number."""
    high = np.float32(-np.inf)
    for place in range(count):
        high = max(high, x[place])
    return high


highest = compiled(_highest, REORDERED | {"nnan"})


@compiled
def softmax(x: Float32[ndarray, " n"], count: int) -> np.float32:
    """Replace the first logits by e^(logit - highest), 0 where that is nothing beside 1; return one over their sum.

    Numbers near float32's least, which vectors weighted by them would be, take a hundred times as long.
    """
    high, total = highest(x, count), np.float32(0)
    for place in range(count):
        less = x[place] - high
        share = np.float32(0) if less < _NOTHING else exp(less)
        x[place] = share
        total += share
    return ONE / total


@compiled
def rms_norm(x: Float32[ndarray, "n d"], out: Float32[ndarray, "n d"]) -> None:
    """Write each row divided by its root mean square, as :class:`torch.nn.RMSNorm` does."""
    for row in range(x.shape[0]):
        line, to = x[row], out[row]
        scale = ONE / np.sqrt(dot(line, line) / np.float32(len(line)) + _EPS)
        for place in range(len(line)):
            to[place] = line[place] * scale


@compiled
def layer_norm(x: Float32[ndarray, "n d"], weights: Float32[ndarray, "2 d"], out: Float32[ndarray, "n d"]) -> None:
    """Write each row less its mean, divided by its deviation, times a weight, plus a bias: LayerNorm.

    Args:
        x: The rows, [n, d].
        weights: Weight and bias, [2, d].
        out: Where to write, [n, d]; may be x.
    """
    weight, bias, size = weights[0], weights[1], np.float32(x.shape[1])
    for row in range(x.shape[0]):
        line, to = x[row], out[row]
        mean, square = np.float32(0), np.float32(0)
        for place in range(len(line)):
            mean += line[place]
        mean /= size
        for place in range(len(line)):
            square += (line[place] - mean) * (line[place] - mean)
        scale = ONE / np.sqrt(square / size + np.float32(1e-5))
        for place in range(len(line)):
            to[place] = (line[place] - mean) * scale * weight[place] + bias[place]
