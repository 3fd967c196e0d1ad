"""What the page is told, against the true nearest by inner product and what the service itself answers."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import tiny
from tests.serving.http.conftest import running
from towers.data import Dataset
from towers.index import Exact
from towers.models import PopularityTerm
from towers.publishing import Bundle, PublishConfig, publish
from towers.serving import Ask
from towers.serving.http.keys import KeyConfig, add_key
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.page.maps import draw
from towers.serving.page.page import BECAUSE
from towers.serving.service import Service
from towers.serving.store import MemoryState, SqliteStore

WAIT_S = 60


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "strings"])
def string(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bundle(string: bool, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of towers that add popularity to a score, which must count nothing in likeness."""
    folder = tmp_path_factory.mktemp("page")
    run = tiny.write_run(
        folder / "run", tiny.write_dataset(folder / "dataset", string), popularity=PopularityTerm.recent
    )
    return publish(PublishConfig(run=str(run), bundle=str(folder / "bundle"), index=Exact()))


@pytest.fixture(scope="module")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    state = str(tmp_path_factory.mktemp("served") / "state")
    root = bundle.folder.parent.parent
    with (
        running(make_app(ServeConfig(bundle=str(root), state=state, store=MemoryState()))) as url,
        httpx.Client(base_url=url, timeout=WAIT_S) as client,
    ):
        yield client


def told(client: httpx.Client, path: str, **query: Any) -> Any:  # noqa: ANN401
    reply = client.get(f"/v1/page/{path}", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def drawn(client: httpx.Client) -> Any:  # noqa: ANN401
    """The map, once it is drawn."""
    until = time.monotonic() + WAIT_S
    while (found := told(client, "map"))["state"] == "drawing":
        assert time.monotonic() < until
    return found


def likeness(bundle: Bundle, one: Any, other: Any) -> float:  # noqa: ANN401
    rows = bundle.videos.rows([one, other])
    first, second = (bundle.vectors[row][: bundle.towers.config.dim].astype(np.float64) for row in rows)
    return float(first @ second)


def watched_by(bundle: Bundle, user: Any) -> list[Any]:  # noqa: ANN401
    """Newest first."""
    rows = bundle.positives.of(int(bundle.users.rows([user])[0])).astype(np.int64)
    return list(np.asarray(bundle.videos.ids_of_known(rows)).tolist())[::-1]


def test_a_user_sees_the_candidates_of_the_service_and_the_truly_nearest_that_was_read(
    client: httpx.Client, bundle: Bundle, string: bool
) -> None:
    longest = 0
    for user in tiny.ids_of(tiny.USERS, string):
        page = told(client, f"users/{user}", k=15)
        answer = client.post("/v1/candidates", json={"user_id": user, "k": 15}).json()
        assert [each["video"]["video_id"] for each in page["candidates"]] == list(map(str, answer["video_ids"]))
        assert [each["score"] for each in page["candidates"]] == answer["scores"]
        assert (page["path"], page["short_because"]) == (answer["path"], answer["short_because"])
        watched = watched_by(bundle, user)
        assert [each["video"]["video_id"] for each in page["history"]] == list(map(str, watched))
        read = watched[: bundle.towers.window]
        assert [each["read"] for each in page["history"]] == [place < len(read) for place in range(len(watched))]
        assert (page["watched"], page["read"]) == (len(watched), len(read))
        for candidate, each in zip(answer["video_ids"], page["candidates"], strict=True):
            true = sorted(read, key=lambda video: -likeness(bundle, candidate, video))[:BECAUSE]
            assert [because["video_id"] for because in each["because"]] == list(map(str, true))
            expected = [likeness(bundle, candidate, video) for video in true]
            np.testing.assert_allclose([because["likeness"] for because in each["because"]], expected, atol=1e-5)
        longest = max(longest, len(watched))
    assert longest > bundle.towers.window


def test_what_comes_later_counts_at_once(client: httpx.Client, string: bool) -> None:
    user, new = ("somebody new", "a new one") if string else (77, 2**60)
    before = told(client, f"users/{user}", k=3)
    assert (before["path"], before["history"]) == ("new_user", [])
    assert [each["because"] for each in before["candidates"]] == [[], [], []]
    first = tiny.ids_of(tiny.VIDEOS, string)[3]
    client.put("/v1/videos", json={"video_id": new, "features": {"tags": ["b", "a"]}}).raise_for_status()
    for place, video in enumerate([first, new]):
        event = {"user_id": user, "video_id": video, "time_ms": 1_700_000_000_000 + place}
        client.post("/v1/events", json=event).raise_for_status()
    after = told(client, f"users/{user}", k=3)
    newest, oldest = after["history"]
    assert (newest["video"]["video_id"], newest["video"]["facts"]) == (str(new), ["a, b"])
    assert (oldest["video"]["video_id"], oldest["time_ms"]) == (str(first), 1_700_000_000_000)
    assert after["path"] == "personal"
    assert {each["video_id"] for each in after["candidates"][0]["because"]} == {str(new), str(first)}
    client.delete(f"/v1/videos/{new}").raise_for_status()


def test_the_videos_like_one_are_the_truly_nearest(client: httpx.Client, bundle: Bundle, string: bool) -> None:
    videos = tiny.ids_of(tiny.VIDEOS, string)
    page = told(client, f"videos/{videos[5]}", k=6)
    true = sorted(
        (video for video in videos if video != videos[5]), key=lambda each: -likeness(bundle, videos[5], each)
    )
    assert [each["video"]["video_id"] for each in page["similar"]] == list(map(str, true[:6]))
    assert page["columns"] == ["tags"]
    assert page["video"]["facts"] == ["a, b"]
    lost = client.get("/v1/page/videos/999")
    assert lost.status_code == 404
    assert "999" in lost.json()["error"]


def test_the_map_is_finite_and_the_same_each_time(client: httpx.Client, bundle: Bundle, string: bool) -> None:
    page, again = drawn(client), draw(bundle)
    assert page["video_ids"] == list(map(str, tiny.ids_of(tiny.VIDEOS, string)))
    np.testing.assert_allclose(np.stack([page["x"], page["y"]], axis=1), again.places, atol=1e-4)
    assert np.abs(again.places).max() <= 1
    assert (page["feature"], page["values"]) == ("", [])  # all first tags are the same
    placed = told(client, f"videos/{page['video_ids'][7]}", k=1)["video"]["place"]
    np.testing.assert_allclose(placed, [page["x"][7], page["y"][7]], atol=1e-4)


def test_colours_are_those_of_the_first_telling_feature(tmp_path: Path) -> None:
    dataset = tiny.write_dataset(tmp_path / "dataset")
    table = dataset.folder / "videos.parquet"
    videos, tags = pq.read_table(table), [["b"], ["a", "b"], ["b", "a"], []] * (tiny.VIDEOS // 4)
    pq.write_table(videos.set_column(videos.column_names.index("tags"), "tags", [tags]), table)
    run = tiny.write_run(tmp_path / "run", Dataset.open(dataset.folder))
    found = draw(publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact())))
    assert (found.feature, found.values) == ("tags", ["b", "a"])
    assert found.codes.tolist() == [0, 1, 0, 2] * (tiny.VIDEOS // 4)


def test_videos_that_are_not_drawn_lie_amid_those_most_like_them(bundle: Bundle) -> None:
    some = draw(bundle, most=10)
    counts = np.bincount(np.asarray(bundle.positives.video_row), minlength=tiny.VIDEOS + 2)
    assert counts[some.rows].min() >= np.delete(counts[2:], some.rows - 2).max()
    rows = np.array([row for row in range(2, tiny.VIDEOS + 2) if row not in some.rows])
    directions = bundle.vectors[:, : bundle.towers.config.dim].astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True).clip(1e-12)
    for row, place in zip(rows, some.at(rows, bundle.vectors[rows]), strict=True):
        near = np.argsort(-(directions[some.rows] @ directions[row]))[:3]
        np.testing.assert_allclose(place, some.places[near].mean(axis=0))


def test_somebody_has_watched_something(client: httpx.Client, bundle: Bundle, string: bool) -> None:
    found = {told(client, "somebody")["user_id"] for _ in range(5)}
    assert found <= {str(user) for user in tiny.ids_of(tiny.USERS, string) if watched_by(bundle, user)}


def test_looking_is_not_remembered_as_showing(bundle: Bundle, string: bool, tmp_path: Path) -> None:
    user = tiny.ids_of(tiny.USERS, string)[3]

    async def look_and_ask() -> list[str]:
        service = Service(bundle.folder.parent.parent, SqliteStore(str(tmp_path / "state.db")), tmp_path / "state")
        await service.open()
        looked, _ = await service.candidates(Ask(user, 5), None)
        asked, _ = await service.candidates(Ask(user, 5), "asked")
        assert list(looked.ids) == list(asked.ids)
        await service.close()
        store = SqliteStore(str(tmp_path / "state.db"))
        await store.open()
        kept = await store.export(user)
        await store.close()
        return [answer.request_id for answer in kept.answers]

    assert asyncio.run(look_and_ask()) == ["asked"]


def test_counts_are_those_of_what_was_asked(client: httpx.Client) -> None:
    before, after = told(client, "live"), None
    for _ in range(3):
        client.post("/v1/candidates", json={"k": 1}).raise_for_status()
    client.post("/v1/candidates", json={"k": 0})
    after = told(client, "live")

    def counted(live: dict[str, Any]) -> dict[str, int]:
        routes = {each["route"]: each for each in live["routes"]}
        return dict(routes.get("/v1/candidates", {}).get("by_status", {}))

    assert counted(after).get("200", 0) - counted(before).get("200", 0) == 3
    assert counted(after).get("400", 0) - counted(before).get("400", 0) == 1
    route = next(each for each in after["routes"] if each["route"] == "/v1/candidates")
    assert len(route["within"]) == len(after["bounds_s"]) + 1
    assert route["within"][-1] == sum(route["by_status"].values())
    assert route["within"] == sorted(route["within"])
    assert (after["state"]["store_up"], after["store_away"]) == (1, "")


def test_the_page_reads_nothing_that_it_is_not_told(client: httpx.Client) -> None:
    script = resources.files("towers.serving.page").joinpath("static/page.js").read_text(encoding="utf-8")
    read = set(re.findall(r"\bstate\.(\w+)", script))
    assert len(read) >= 8
    assert read <= told(client, "live")["state"].keys()


def test_versions_tell_what_they_are_and_what_is_wrong(tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset"))
    figures = {"recall@100": {"value": 0.4, "low": 0.3, "high": 0.5}, "coverage@100": 0.25, "users": 7}
    floors = {"low": {"recall@100": {"value": 0.1}}, "high": {"recall@100": {"value": 0.2}}}
    report = {"metrics": figures, "floors": floors, "verdict": "The towers win."}
    root = tmp_path / "bundle"
    publish(PublishConfig(run=str(run), bundle=str(root), index=Exact(), keep=3))
    (run / "report").mkdir()
    (run / "report" / "report.json").write_text(json.dumps(report))
    publish(PublishConfig(run=str(run), bundle=str(root), index=Exact(), keep=3))
    broken = publish(PublishConfig(run=str(run), bundle=str(root), index=Exact(), keep=3))
    second = sorted(path.name for path in (root / "versions").iterdir())[1]
    (root / "current").write_text(json.dumps({"version": second}))
    (broken.folder / "manifest.json").write_text("{")
    config = ServeConfig(bundle=str(root), state=str(tmp_path / "state"), store=MemoryState())
    with running(make_app(config)) as url, httpx.Client(base_url=url, timeout=WAIT_S) as client:
        assert client.post("/v1/bundle", json={"version": broken.version}).status_code == 409
        page = told(client, "versions")
    third, evaluated, first = page["versions"]
    assert page["served"] == second == evaluated["name"]
    assert (page["refused"], third["name"]) == (broken.version, broken.version)
    assert "manifest.json cannot be read" in page["refused_because"]
    assert "manifest.json cannot be read" in third["fault"]
    assert (evaluated["verdict"], evaluated["served"], evaluated["videos"]) == ("The towers win.", True, tiny.VIDEOS)
    assert [each["name"] for each in evaluated["judged"]] == ["towers", "high", "low"]
    assert evaluated["judged"][0]["figures"] == {
        "recall@100": {"value": 0.4, "low": 0.3, "high": 0.5},
        "coverage@100": {"value": 0.25, "low": None, "high": None},
    }
    assert (first["judged"], first["served"], first["fault"]) == ([], False, "")


def test_people_need_another_scope_than_videos(tiny_bundle: Path, tmp_path: Path) -> None:
    keys = {
        name: add_key(KeyConfig(file=str(tmp_path / "keys.json"), name=name, scopes=scopes))
        for name, scopes in {"reader": ["read"], "writer": ["write", "read"]}.items()
    }
    config = ServeConfig(
        bundle=str(tiny_bundle), state=str(tmp_path / "state"), store=MemoryState(), keys=str(tmp_path / "keys.json")
    )
    user, video = (tiny.ids_of(2, string=False)[1] for _ in range(2))
    with running(make_app(config)) as url, httpx.Client(base_url=url, timeout=WAIT_S) as client:

        def status(path: str, name: str | None) -> int:
            headers = {"authorization": f"Bearer {keys[name]}"} if name else {}
            return client.get(path, headers=headers).status_code

        for path in ("/", "/page/page.css", "/page/page.js", "/page/icon.svg"):
            assert status(path, None) == 200
        for path in ("map", "live", "versions", f"videos/{video}"):
            assert [status(f"/v1/page/{path}", who) for who in (None, "reader")] == [401, 200]
        for path in (f"users/{user}", "somebody"):
            assert [status(f"/v1/page/{path}", who) for who in (None, "reader", "writer")] == [401, 403, 200]
        asked = [client.post("/v1/page/access", json={"key": key}).json() for key in ("", "no", *keys.values())]
    assert [(each["keys"], each["name"], each["scopes"]) for each in asked] == [
        (True, "", []),
        (True, "", []),
        (True, "reader", ["read"]),
        (True, "writer", ["read", "write"]),
    ]


def test_the_document_tells_of_the_page(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    user = document["paths"]["/v1/page/users/{user_id}"]["get"]
    assert [each["name"] for each in user["parameters"]] == ["user_id", "k"]
    schema = user["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/PageUser"}
    assert "because" in document["components"]["schemas"]["PageCandidate"]["required"]
