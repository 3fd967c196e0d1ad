"""The video tower of requests, without torch, against the one that is trained."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data import Encoder, Encoders, Kind
from towers.features import FeatureTable
from towers.models import MeanHistory, ModelConfig, PopularityTerm, TwoTower, VideoTower, arrays_of, video_vectors
from towers.types import Geometry, TowersError

ROWS = 40
ENCODERS = Encoders(
    videos=(
        Encoder("region", Kind.categorical, values=("a", "b")),
        Encoder("length", Kind.numeric, boundaries=(1.0, 2.0)),
        Encoder("tags", Kind.multi, values=("x", "y")),
        Encoder("makers", Kind.multi, values=("x",)),
        Encoder("content", Kind.vector, dim=3),
    )
)


def towers_of(encoders: Encoders = ENCODERS, **options: Any) -> TwoTower:  # noqa: ANN401
    """A third of the ids are not known."""
    torch.manual_seed(0)
    config = ModelConfig(history=MeanHistory(), dim=10, window=5, **options)
    towers = TwoTower(config, encoders, torch.arange(ROWS) % 3 > 0)
    for parameter in towers.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.5)
    if config.leans:
        towers.tell(torch.randn(ROWS))
    return towers.eval()


def videos_of(rng: np.random.Generator, n: int) -> FeatureTable:
    """Features of which a third is missing, of rows in any order."""
    there = rng.random((4, n, 1)) < 2 / 3
    return FeatureTable(
        (rng.integers(1, 4, (n, 2)) * there[0]).astype(np.int32),
        tuple((rng.integers(0, 3, (n, width)) * there[width]).astype(np.int32) for width in (3, 1)),
        ((rng.normal(size=(n, 3)) * there[2]).astype(np.float32),),
        rng.integers(1, ROWS, n),
    )


@given(
    n=st.integers(0, 30),
    seed=st.integers(0, 10_000),
    geometry=st.sampled_from(Geometry),
    popularity=st.sampled_from([PopularityTerm.none, PopularityTerm.recent, PopularityTerm.total]),
    features=st.booleans(),
    id_buckets=st.sampled_from([0, 7]),
)
def test_requests_get_what_torch_makes(n: int, seed: int, **options: Any) -> None:  # noqa: ANN401
    towers, videos = towers_of(**options), videos_of(np.random.default_rng(seed), n)
    with torch.inference_mode():
        trained = towers.videos(torch.from_numpy(videos.rows), videos.tensors()).numpy()
    served = VideoTower(arrays_of(towers)).vectors(videos)
    assert served.dtype == np.float32
    assert served.shape == (n, towers.dim)
    np.testing.assert_allclose(served, trained, atol=1e-6, rtol=1e-5)


def test_towers_that_read_no_features_take_any() -> None:
    towers, rng = towers_of(Encoders()), np.random.default_rng(0)
    all_of_them = FeatureTable(rng.integers(0, 3, (ROWS, 2)).astype(np.int32))
    expected = video_vectors(towers, all_of_them)[1:]
    rows = np.arange(1, ROWS)
    np.testing.assert_allclose(VideoTower(arrays_of(towers)).vectors(all_of_them.take(rows)), expected, atol=1e-6)


def test_a_vector_that_is_no_number_is_named() -> None:
    towers, videos = towers_of(geometry=Geometry.dot), videos_of(np.random.default_rng(0), 9)
    with torch.no_grad():
        towers.ids.weight[int(videos.rows[4])] = torch.nan  # type: ignore[index]
        towers.known.fill_(True)
    spoilt = np.flatnonzero(videos.rows == videos.rows[4])[0]  # type: ignore[index]
    with pytest.raises(TowersError, match=rf"the vector of new video {spoilt} is not finite; the towers' weights are"):
        VideoTower(arrays_of(towers)).vectors(videos)
