"""Exact search on a GPU at the speed of reading the vectors once, in half precision.

Product and selection are one pass: of every `FINE` vectors only the best product is kept. What no bound on rounding
rules out is scored again in float32, so the answer is that of float32 products; where a list cannot be proven so,
`top_k` answers.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock

import torch
from jaxtyping import Float32
from torch import Tensor

from towers.index import kernels
from towers.index.in_torch import check_pair, search_all
from towers.types import DataError, Hits

LARGEST = 65_535 * kernels.COARSE.value
"""Vectors from which on a search is torch's: CUDA counts no further along the second side of a grid."""
MOST = 128
"""The longest lists; longer ones are left to `top_k`."""
ROOMS = 16
"""Shapes of searches, the latest, whose room is kept: among a million vectors each takes some 70 kB for a query."""


@dataclass(frozen=True)
class Room:
    """Where a search of one shape happens; kept, so that a search asks for no memory.

    Attributes:
        queries: What is asked, [q, d].
        scratch: What the kernels write.
        graph: The kernels, recorded once.
    """

    queries: Float32[Tensor, "q d"]
    scratch: kernels.Scratch
    graph: torch.cuda.CUDAGraph


class GpuSearcher:
    """Vectors on a GPU, searched exactly; needs Triton, which comes with torch's CUDA builds.

    Beside the vectors it keeps them in bfloat16, half as large. Of queries that are rounded as well, a product is off
    by at most 2⁻⁸ of the two lengths, which is what separates what is scored again from what is not.

    Args:
        vectors: On a GPU, [n, d] with d a power of two from 16 to 256.

    Raises:
        DataError: Vectors elsewhere, of another width, or not finite.
    """

    def __init__(self, vectors: Float32[Tensor, "n d"]) -> None:
        dim = vectors.shape[1]
        if not vectors.is_cuda or dim not in {16, 32, 64, 128, 256}:
            raise DataError(
                f"vectors lie on {vectors.device.type} and have {dim} dimensions; expected a GPU and 16, 32, 64, 128 "
                "or 256; search others with top_k"
            )
        check_pair(vectors[:0], vectors)
        self.vectors, self.codes = vectors.contiguous(), vectors.bfloat16()
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        farthest = int(lengths.argmax()) if len(vectors) else 0
        self.farthest = self.vectors[farthest : farthest + 1]
        self.longest = lengths[farthest].clone() if len(vectors) else vectors.new_zeros(())
        # Of what they need and no more: a cache that held the searcher would keep its memory from being given back.
        self._room = lru_cache(ROOMS)(partial(_recorded, (self.vectors, self.codes, self.longest)))
        self._searching = Lock()

    def search(self, queries: Float32[Tensor, "q d"], k: int) -> Hits:
        """Return what `top_k` returns, equal scores by the lower column.

        Args:
            queries: On any device, [q, d].
            k: How many.

        Raises:
            DataError: Dimensions that differ, queries that are not finite, or scores that can be beyond float32.
        """
        check_pair(queries, self.farthest)
        n = len(self.vectors)
        if not 0 < k <= MOST or not len(queries) or not k * kernels.COARSE.value <= n <= LARGEST:
            return self._all(queries, k)
        with self._searching:  # searches of as many queries share their room
            best, where, proven = (found.cpu() for found in self.launch(queries, k))
        hits = Hits(where.numpy(), best.numpy())
        for row in (proven == 0).nonzero()[:, 0].tolist():
            one = self._all(queries[row : row + 1], k)
            hits.ids[row], hits.scores[row] = one.ids[0], one.scores[0]
        return hits

    def launch(self, queries: Float32[Tensor, "q d"], k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores and columns, [q, k], and whether each list is proven, 1 or 0, [q]; does not wait for the GPU.

        They lie there, and the next search of as many queries overwrites them.
        """
        room = self._room(len(queries), k)
        room.queries.copy_(queries, non_blocking=True)
        room.graph.replay()
        return room.scratch.best, room.scratch.where, room.scratch.proven

    def _all(self, queries: Tensor, k: int) -> Hits:
        q = len(queries)
        nothing = torch.zeros(q + 1, dtype=torch.int64).numpy(), torch.zeros(0, dtype=torch.int64).numpy()
        return search_all(queries.to(self.vectors.device), self.vectors, k, nothing)


def _recorded(searched: tuple[Tensor, Tensor, Tensor], q: int, k: int) -> Room:
    """Compile the kernels by running them, then record them: one launch instead of five."""
    vectors, codes, longest = searched
    queries = torch.zeros(q, vectors.shape[1], device=vectors.device)
    scratch = kernels.Scratch.of(q, len(vectors), k, vectors.device)
    kernels.search(queries, vectors, codes, longest, scratch)
    torch.cuda.synchronize(vectors.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels.search(queries, vectors, codes, longest, scratch)
    return Room(queries, scratch, graph)
