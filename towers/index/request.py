"""What is asked of machine code; without the machinery that makes it, so that nothing but a search loads that."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt16


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        queries: What to search for, [q, d].
        may: 16 bits to a block, set where a slot may be returned, [blocks].
        offsets: Where each query's excluded ids begin, [q + 1].
        excluded: Ids, all queries one after the other.
        ids: The answer, to be written, [q, k].
        scores: The answer's scores, to be written, [q, k].
    """

    queries: Float32[np.ndarray, "q d"]
    may: UInt16[np.ndarray, " blocks"]
    offsets: Int64[np.ndarray, " q_1"]
    excluded: Int64[np.ndarray, " m"]
    ids: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]
