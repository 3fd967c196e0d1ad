"""Exact search: a blocked matrix product and the best of every row, ties by the lower column."""

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from towers.index.several import for_each, merged
from towers.types import ConfigError, DataError, Hits

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_WIDEST = 65_536


def top_k(
    queries: Float32[np.ndarray, "q *i d"] | Float32[Tensor, "q *i d"],
    vectors: Float32[np.ndarray, "n e"] | Float32[Tensor, "n e"],
    k: int,
    exclude_offsets: Int64[np.ndarray, " q_plus_1"] | None = None,
    exclude: Int64[np.ndarray, " excluded"] | None = None,
    block_mb: int = 64,
) -> Hits:
    """Return the k columns with the highest inner product for every query, by looking at all of them.

    The product is taken in blocks over both sides, so beside the arguments and the
    answer only about four blocks of memory are used. It runs where the vectors are;
    numpy arrays are searched on the CPU.

    Args:
        queries: What to search for, [q, d]; or [q, i, d], where each of q asks with i queries and a column's
            score is the best of them.
        vectors: What to search in, [n, e] with e = d; the number of a column is its row here.
        k: How many columns to return; slots beyond what exists hold -1 and -inf.
        exclude_offsets: Where each query's excluded columns begin, non-decreasing, [q + 1].
        exclude: The columns that a query must not be given, all queries one after the other.
        block_mb: Size of one block of scores, in MiB; large blocks keep all cores busy.

    Returns:
        Hits whose ids are column numbers; equal scores are ordered by the lower column.

    Raises:
        ConfigError: k or block_mb below 1.
        DataError: Dimensions that differ, values that are not finite, scores beyond float32, or excluded
            columns that do not exist.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> top_k(vectors[:1], vectors, 2).ids.tolist()
        [[0, 2]]
        >>> top_k(vectors[:1], vectors, 2, np.array([0, 1]), np.array([0])).ids.tolist()
        [[2, 1]]
    """
    if k < 1 or block_mb < 1:
        raise ConfigError(f"top_k has k={k} and block_mb={block_mb}; both must be at least 1")
    right = as_tensor(vectors)
    left = as_tensor(queries).to(right.device)
    check_pair(left, right)
    lists = _check_exclusions(left.shape[0], right.shape[0], exclude_offsets, exclude)
    if left.ndim == 2:
        return search_all(left, right, k, lists, block_mb)
    each = left.shape[1]
    return merged(search_all(left.flatten(0, 1), right, k, for_each(*lists, each), block_mb), each)


def search_all(
    queries: Float32[Tensor, "q d"],
    vectors: Float32[Tensor, "n d"],
    k: int,
    exclude: tuple[Int64[np.ndarray, " q_plus_1"], Int64[np.ndarray, " excluded"]],
    block_mb: int = 64,
) -> Hits:
    """Return what top_k returns, for arguments that have been checked already.

    Args:
        queries: What to search for, [q, d].
        vectors: What to search in, on the same device, [n, d].
        k: How many columns to return.
        exclude: Offsets and columns, as in top_k.
        block_mb: Size of one block of scores, in MiB.
    """
    offsets, columns = exclude
    q, n = queries.shape[0], vectors.shape[0]
    width = max(1, min(n, _WIDEST))
    height = max(1, block_mb * 2**20 // 4 // width)
    buffer = torch.empty(min(height, q) * width, device=vectors.device)
    ids, scores = np.empty((q, k), np.int64), np.empty((q, k), np.float32)
    for start in range(0, q, height):
        stop = min(start + height, q)
        rows = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
        masked = (rows, columns[offsets[start] : offsets[stop]])
        best, where = _best_of_block(queries[start:stop], vectors, k, masked, buffer)
        ids[start:stop], scores[start:stop] = where.cpu().numpy(), best.cpu().numpy()
    return Hits(ids, scores)


def check_pair(queries: Float32[Tensor, "q *i d"], vectors: Float32[Tensor, "n e"]) -> None:
    """Refuse queries and vectors whose inner products would be undefined.

    Raises:
        DataError: Dimensions that differ, values that are not finite, or lengths whose product is beyond float32.
    """
    if queries.shape[-1] != vectors.shape[1]:
        raise DataError(
            f"queries have {queries.shape[-1]} dimensions, vectors have {vectors.shape[1]}; take both from one model"
        )
    longest = 1.0
    for name, array in (("queries", queries), ("vectors", vectors)):
        lengths = torch.linalg.vector_norm(array.double() if array.shape[0] < _WIDEST else array, dim=-1)
        bad = (~torch.isfinite(lengths)).nonzero()
        if len(bad):
            raise DataError(f"row {int(bad[0, 0])} of {name} is not finite; the model that made it has diverged")
        longest *= float(lengths.max()) if len(lengths) else 0.0
    if longest > _FLOAT32_MAX:
        raise DataError(f"scores can reach {longest:.3g}, beyond float32's {_FLOAT32_MAX:.3g}; scale the vectors down")


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """Return the array as a tensor that shares its memory; read-only memory is only ever read here."""
    if isinstance(array, Tensor):
        return array.detach()
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _check_exclusions(
    q: int, n: int, offsets: np.ndarray | None, columns: np.ndarray | None
) -> tuple[Int64[np.ndarray, " q_plus_1"], Int64[np.ndarray, " excluded"]]:
    """Return the exclusions as offsets and columns, empty ones where none were given."""
    if offsets is None or columns is None:
        if offsets is not None or columns is not None:
            raise DataError("top_k takes exclude_offsets and exclude together; one of them is missing")
        return np.zeros(q + 1, np.int64), np.empty(0, np.int64)
    if len(offsets) != q + 1 or offsets[0] != 0 or offsets[-1] != len(columns) or (np.diff(offsets) < 0).any():
        raise DataError(
            f"exclude_offsets must rise from 0 to {len(columns)} in {q + 1} steps (one per query and one more); "
            f"there are {len(offsets)}, the last is {offsets[-1] if len(offsets) else 'missing'}"
        )
    if len(columns) and (columns.min() < 0 or columns.max() >= n):
        raise DataError(
            f"exclude names columns {columns.min()} to {columns.max()}; the vectors have columns 0 to {n - 1}"
        )
    return offsets, columns


def _best_of_block(
    block: Tensor, vectors: Tensor, k: int, masked: tuple[np.ndarray, np.ndarray], buffer: Tensor
) -> tuple[Float32[Tensor, "b k"], Int64[Tensor, "b k"]]:
    """Return the best scores and columns of one block of queries, over all vectors."""
    best = torch.empty((block.shape[0], 0), device=vectors.device)
    where = torch.empty((block.shape[0], 0), dtype=torch.int64, device=vectors.device)
    rows, columns = masked
    for start in range(0, vectors.shape[0], _WIDEST):
        part = vectors[start : start + _WIDEST]
        scores = buffer[: block.shape[0] * part.shape[0]].view(block.shape[0], part.shape[0])
        torch.matmul(block, part.T, out=scores)
        here = (columns >= start) & (columns < start + part.shape[0])
        flat = rows[here] * part.shape[0] + columns[here] - start
        scores.view(-1)[torch.from_numpy(flat).to(scores.device)] = -torch.inf
        values, found = best_columns(scores, min(k, part.shape[0]))
        if start == 0:
            best, where = values, found
            continue
        best, order = torch.cat([best, values], dim=1).sort(dim=1, descending=True, stable=True)
        best, order = best[:, :k], order[:, :k]
        where = torch.cat([where, found + start], dim=1).gather(1, order)
    missing = k - best.shape[1]
    best = torch.nn.functional.pad(best, (0, missing), value=-torch.inf)
    where = torch.nn.functional.pad(where, (0, missing), value=-1)
    return best, where.masked_fill(best == -torch.inf, -1)


def best_columns(scores: Float32[Tensor, "b n"], k: int) -> tuple[Float32[Tensor, "b k"], Int64[Tensor, "b k"]]:
    """Return the k best scores of every row and their columns; equal scores are ordered by the lower column.

    torch.topk leaves open which of several equal scores it returns and in what
    order, so rows where that matters are settled afterwards.
    """
    values, found = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    if scores.shape[1] > k:
        last, after = values[:, k - 1], values[:, k]
        torn = ((last == after) & (last > -torch.inf)).nonzero().squeeze(1)
        values, found = values[:, :k], found[:, :k]
        if len(torn):
            found[torn] = _lowest_of_equals(scores[torn], values[torn], found[torn])
    equal = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(dim=1).nonzero().squeeze(1)
    if len(equal):
        columns = found[equal].sort(dim=1).values
        kept = scores[equal].gather(1, columns)
        order = kept.argsort(dim=1, descending=True, stable=True)
        values[equal], found[equal] = kept.gather(1, order), columns.gather(1, order)
    return values, found


def _lowest_of_equals(scores: Tensor, values: Tensor, found: Tensor) -> Int64[Tensor, "b k"]:
    """Return the columns found, with those that tie with the last score replaced by the lowest that do."""
    last = values[:, -1:]
    above = values > last
    equal = scores == last
    wanted = (~above).sum(dim=1, keepdim=True)
    chosen = equal & (equal.cumsum(dim=1, dtype=torch.int32) <= wanted)
    settled = found.clone()
    settled[~above] = chosen.nonzero()[:, 1]
    return settled
