import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.data import Positives
from towers.features import spectral_vectors


def log(seed: int, users: int, videos: int, events: int) -> Positives:
    rng = np.random.default_rng(seed)
    pairs = np.unique(np.stack([rng.integers(2, users + 2, events), rng.integers(2, videos + 2, events)]), axis=1)
    offsets = np.concatenate([[0], np.bincount(pairs[0], minlength=users + 2).cumsum()])
    count = pairs.shape[1]
    return Positives(offsets, pairs[1].astype(np.int32), np.zeros(count, np.int64), np.ones(count, np.float32))


def leading(positives: Positives, rows: int, dim: int) -> np.ndarray:
    """The same by a full decomposition, and the gaps between its singular values."""
    matrix = np.zeros((len(positives.counts()), rows))
    matrix[positives.user_row, positives.video_row] = 1
    of_user, of_video = matrix.sum(1, keepdims=True), matrix.sum(0, keepdims=True)
    _, _, right = np.linalg.svd(matrix / np.sqrt(np.maximum(of_user, 1) * np.maximum(of_video, 1)))
    vectors: np.ndarray = right[:dim].T
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def test_similarities_are_those_of_the_full_decomposition() -> None:
    positives = log(0, users=60, videos=40, events=500)
    vectors, exact = spectral_vectors(positives, 42, 8, seed=0), leading(positives, 42, 8)
    watched = np.unique(positives.video_row)
    np.testing.assert_allclose(
        (vectors @ vectors.T)[np.ix_(watched, watched)], (exact @ exact.T)[np.ix_(watched, watched)], atol=0.05
    )


@given(seed=st.integers(0, 1000), dim=st.integers(1, 12), users=st.integers(1, 20), videos=st.integers(1, 20))
def test_watched_videos_have_length_one_or_are_missed_by_all_directions(
    seed: int, dim: int, users: int, videos: int
) -> None:
    positives = log(seed, users, videos, events=30)
    vectors = spectral_vectors(positives, videos + 2, dim, seed)
    watched = np.isin(np.arange(videos + 2), positives.video_row)
    assert vectors.shape == (videos + 2, dim)
    assert vectors.dtype == np.float32
    assert (vectors[~watched] == 0).all()
    lengths = np.linalg.norm(vectors[watched], axis=1)
    assert np.isfinite(vectors).all()
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()


def test_videos_of_one_circle_of_users_lie_together() -> None:
    circles = [np.tile(np.arange(2, 8), 10), np.tile(np.arange(8, 14), 10)]
    offsets = np.concatenate([[0, 0], np.arange(0, 121, 6)])
    rows = np.concatenate(circles).astype(np.int32)
    vectors = spectral_vectors(Positives(offsets, rows, np.zeros(120, np.int64), np.ones(120, np.float32)), 14, 2, 0)
    near = vectors[2:] @ vectors[2:].T
    same = np.arange(12)[:, None] // 6 == np.arange(12) // 6
    assert near[same].min() > 0.99
    assert np.abs(near[~same]).max() < 0.01


def test_the_same_seed_gives_the_same_vectors() -> None:
    positives = log(1, users=30, videos=20, events=200)
    np.testing.assert_array_equal(spectral_vectors(positives, 22, 4, 7), spectral_vectors(positives, 22, 4, 7))


def test_where_there_are_fewer_directions_than_were_asked_for_the_others_are_zero() -> None:
    rows = np.concatenate([np.tile([2, 3, 4], 300), np.tile([5, 6, 7], 300)]).astype(np.int32)
    offsets = np.concatenate([[0, 0], np.arange(0, 1801, 3)])
    log = Positives(offsets, rows, np.zeros(1800, np.int64), np.ones(1800, np.float32))
    vectors = spectral_vectors(log, 8, 4, 0)
    assert np.abs(vectors[:, 2:]).max() == 0
    near = vectors[2:] @ vectors[2:].T
    same = np.arange(6)[:, None] // 3 == np.arange(6) // 3
    assert near[same].min() > 0.999
    assert np.abs(near[~same]).max() < 0.001
