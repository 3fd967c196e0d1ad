"""The proof fails where training, serving and index disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from towers.data import TIME_UNKNOWN, Dataset
from towers.features import FeatureTable, Requests
from towers.index import Exact
from towers.models import UserTower, VideoTower, load_towers, query_vectors, save_towers, user_tower
from towers.models.machine.seen import LastStates
from towers.publishing import Bundle, PublishConfig, parity, publish
from towers.publishing.parity import Material, prove_again
from towers.publishing.proof import draw_sample, prove, training_form
from towers.types import BundleError, Hits, TowersError


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture
def material(bundle: Bundle) -> Material:
    return bundle.material


@pytest.fixture
def videos(bundle: Bundle) -> FeatureTable:
    return bundle.features_of(np.arange(len(bundle.vectors)))


def test_users_without_a_history_and_with_the_longest_are_asked(bundle: Bundle, material: Material) -> None:
    sample = draw_sample(bundle.towers, material)
    counts = material.positives.counts()[sample.users]
    assert (counts.min(), counts.max()) == (0, 40)
    assert counts.max() > material.towers.window


def test_the_training_form_reads_all_positions_and_gives_the_last(
    bundle: Bundle, material: Material, videos: FeatureTable
) -> None:
    sample = draw_sample(bundle.towers, material)
    queries, vectors = training_form(sample, bundle.towers, material, videos)
    np.testing.assert_allclose(queries, sample.queries, atol=1e-6)
    np.testing.assert_allclose(vectors, material.vectors[sample.videos], atol=1e-6)
    requests = Requests.without_times(material.requests(sample.users).history[:, 1:])
    shorter = query_vectors(bundle.towers, material.vectors, requests, material.users.take(sample.users))
    assert np.abs(shorter - queries).max() > 0.01


def test_saved_towers_that_differ_are_found(
    bundle: Bundle, material: Material, videos: FeatureTable, tmp_path: Path
) -> None:
    other = load_towers(bundle.folder / "towers")
    with torch.no_grad():
        other.ids.weight[5] += 1
    save_towers(other, tmp_path / "towers")
    with pytest.raises(BundleError, match=r"at publishing failed: reloaded user vectors differ by 0\.\d+"):
        prove(draw_sample(bundle.towers, material), bundle.towers, material, videos, tmp_path / "towers")


def test_an_index_with_other_scores_is_found(bundle: Bundle, material: Material, videos: FeatureTable) -> None:
    sample = draw_sample(bundle.towers, material)
    wrong = replace(sample, hits=Hits(sample.hits.ids, sample.hits.scores + np.float32(1e-4)))
    with pytest.raises(BundleError, match=r"index scores differ by 0\.0001, at most 1e-05 is allowed"):
        prove(wrong, bundle.towers, material, videos, bundle.folder / "towers")


def test_a_video_tower_of_requests_that_differs_is_found(
    bundle: Bundle, material: Material, videos: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, right = draw_sample(bundle.towers, material), VideoTower.vectors
    monkeypatch.setattr(VideoTower, "vectors", lambda *those: right(*those) + np.float32(1e-3))
    with pytest.raises(BundleError, match=r"at publishing failed: served video vectors differ by 0\.001"):
        prove(sample, bundle.towers, material, videos, bundle.folder / "towers")
    with pytest.raises(BundleError, match=r"at opening failed: video vectors differ by 0\.001"):
        prove_again(sample, material, bundle.features_of(sample.videos))


def test_a_difference_that_is_no_number_is_found() -> None:
    with pytest.raises(BundleError, match="differ by nan"):
        parity.checked({"user vectors": float("nan")}, "at opening")


@pytest.mark.parametrize(("wrong", "figure"), [(1e-3, "at publishing"), (float("nan"), "the vector of user 0")])
def test_a_form_for_requests_that_differs_is_found(
    wrong: float,
    figure: str,
    bundle: Bundle,
    material: Material,
    videos: FeatureTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample, right = draw_sample(bundle.towers, material), user_tower._entered
    there = (sample, bundle.towers, material, videos, bundle.folder / "towers")
    assert prove(*there)["served user vectors"] <= 1e-6

    def entered(*those: object) -> LastStates:
        last_states = right(*those)  # type: ignore[arg-type]
        return lambda asked: last_states(asked) + np.float32(wrong)

    monkeypatch.setattr(user_tower, "_entered", entered)
    with pytest.raises(TowersError, match=figure):
        prove(*there)


def test_a_user_s_own_vector_that_requests_read_otherwise_is_found(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.write_run(tmp_path / "run", Dataset.open(tiny_dataset), user_id=True)
    publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact()))
    opened, right = Bundle.open(tmp_path / "bundle"), user_tower._own_lines
    material = opened.material
    monkeypatch.setattr(user_tower, "_own_lines", lambda *those: np.roll(right(*those), 1, axis=0))
    with pytest.raises(BundleError, match=r"at publishing failed: served user vectors differ by 0\.\d+"):
        prove(
            draw_sample(opened.towers, material),
            opened.towers,
            material,
            opened.features_of(np.arange(len(opened.vectors))),
            opened.folder / "towers",
        )


def test_a_moment_that_requests_read_otherwise_is_found(
    bundle: Bundle, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, right = draw_sample(bundle.towers, material), UserTower.queries

    def an_hour_off(tower: UserTower, requests: Requests, users: np.ndarray) -> np.ndarray:
        known = requests.asked_ms != TIME_UNKNOWN
        return right(tower, replace(requests, asked_ms=requests.asked_ms + 3_600_000 * known), users)

    monkeypatch.setattr(UserTower, "queries", an_hour_off)
    with pytest.raises(BundleError, match=r"at opening failed: user vectors differ by 0\.\d+"):
        prove_again(sample, material, bundle.features_of(sample.videos))
