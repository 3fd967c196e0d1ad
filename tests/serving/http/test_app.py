"""The service over real sockets: what is told counts in the next answer, and what is wrong is said."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from tests import tiny
from tests.serving.http.conftest import Start, running
from towers.index import Exact
from towers.publishing import PublishConfig, publish
from towers.serving import Client, Retriever
from towers.serving.client import AnswerError
from towers.serving.http.keys import KeyConfig, Keys, add_key
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState
from towers.types import BundleError, ConfigError

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
NEW = 2**60


@pytest.fixture
def client(start: Start, tiny_bundle: Path) -> Client:
    return start(tiny_bundle)


@pytest.fixture(scope="module")
def shared(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service whose state no test changes."""
    state = str(tmp_path_factory.mktemp("shared") / "state")
    with running(make_app(ServeConfig(bundle=str(tiny_bundle), state=state, store=MemoryState(), body_mb=0.1))) as url:
        yield url


def test_every_user_gets_what_the_retriever_says(shared: str, tiny_bundle: Path) -> None:
    retriever = Retriever.open(tiny_bundle)
    with Client(shared, timeout_s=60.0) as client:
        for user in [*USERS, None, 12345]:
            found, wanted = client.candidates(user, k=7), retriever.candidates(user, k=7)
            assert found["video_ids"] == list(wanted.ids)
            assert found["scores"] == pytest.approx(wanted.scores.tolist(), abs=1e-6)
            assert found["short_because"] == wanted.short_because
            assert found["bundle_version"] == retriever.bundle.version
        assert client.candidates(USERS[3])["path"] == "personal"
        assert client.candidates(12345)["path"] == "new_user"


def test_history_filters_and_lists_act(shared: str, tiny_bundle: Path) -> None:
    retriever = Retriever.open(tiny_bundle)
    with Client(shared, timeout_s=60.0) as client:
        history = [{"video_id": VIDEOS[3], "time_ms": 5}, {"video_id": VIDEOS[8], "time_ms": 6}]
        found = client.candidates(None, k=40, history=history, time_ms=7)
        wanted = retriever.candidates(None, 40, history=[(VIDEOS[3], 5), (VIDEOS[8], 6)], time_ms=7)
        assert found["video_ids"] == list(wanted.ids)
        assert client.candidates(None, k=40, history=[VIDEOS[3]])["video_ids"] == list(
            retriever.candidates(None, 40, history=[VIDEOS[3]]).ids
        )
        only = client.candidates(None, k=40, only={"tags": ["b"]}, without={"tags": "no such"}, exclude=[VIDEOS[2]])
        assert set(only["video_ids"]) == {VIDEOS[n] for n in range(tiny.VIDEOS) if n % 3 == 2} - {VIDEOS[2]}
        assert set(client.candidates(None, allow=[VIDEOS[1], VIDEOS[4], NEW])["video_ids"]) == {VIDEOS[1], VIDEOS[4]}
        assert "asked for 100; of 40 videos" in client.candidates(None)["short_because"]


def test_an_event_counts_in_the_next_answer_once(client: Client, tiny_bundle: Path) -> None:
    before = client.candidates(USERS[5], k=40)["video_ids"]
    event = {"event_id": "one", "user_id": USERS[5], "video_id": before[0], "time_ms": 10**12}
    assert client.events([event, event]) == {"new": 1, "repeated": 1, "unknown_videos": 0}
    assert client.events([event]) == {"new": 0, "repeated": 1, "unknown_videos": 0}
    after = client.candidates(USERS[5], k=40, time_ms=10**12 + 1)
    wanted = Retriever.open(tiny_bundle).candidates(USERS[5], k=40, exclude=[before[0]])
    assert set(after["video_ids"]) == set(wanted.ids)
    assert after["video_ids"] != list(wanted.ids)  # read, not only hidden
    assert client.candidates(USERS[6], k=40)["video_ids"] == list(
        Retriever.open(tiny_bundle).candidates(USERS[6], k=40).ids
    )
    assert client.user(USERS[5])["history"][-1] == {"video_id": before[0], "time_ms": 10**12}


def test_an_impression_is_kept_but_changes_nothing(client: Client) -> None:
    before = client.candidates(USERS[5], k=5)["video_ids"]
    client.events({"user_id": USERS[5], "video_id": before[0], "positive": False, "labels": {"watch_ms": 40}})
    assert client.candidates(USERS[5], k=5)["video_ids"] == before
    kept = client.user(USERS[5])["events"]
    assert [(each["video_id"], each["labels"]) for each in kept] == [(before[0], {"watch_ms": 40})]


def test_events_of_unknown_videos_are_kept_and_counted(client: Client) -> None:
    told = [{"user_id": USERS[5], "video_id": video} for video in (NEW, VIDEOS[0], NEW + 1)]
    assert client.events(told) == {"new": 3, "repeated": 0, "unknown_videos": 2}
    assert "towers_events_of_unknown_videos_total 2.0" in httpx.get(f"{client.url}/metrics").text
    client.put_videos({NEW: {"tags": ["a"]}})
    assert client.events(told) == {"new": 3, "repeated": 0, "unknown_videos": 1}


def test_a_value_that_no_video_has_is_named(client: Client) -> None:
    found = client.candidates(USERS[5], k=5, only={"tags": ["a", "no such", 7]})
    assert found["short_because"] == ""
    found = client.candidates(USERS[5], k=40, only={"tags": ["no such", 7]})
    assert found["video_ids"] == []
    assert found["short_because"].startswith("no video has tags 'no such', nor tags 7; asked for 40; ")


def test_a_video_comes_and_goes(client: Client) -> None:
    everything = 41
    assert client.put_videos({NEW: {"tags": ["a"]}}) == {"shown": 1}
    assert NEW in client.candidates(None, k=everything)["video_ids"]
    assert NEW in client.candidates(None, k=everything, only={"tags": ["a"]})["video_ids"]
    assert NEW not in client.candidates(None, k=everything, without={"tags": ["a"]})["video_ids"]
    assert NEW in client.similar(VIDEOS[1], k=everything)["video_ids"]
    assert len(client.embed_videos([NEW, VIDEOS[0]])["vectors"][0]) == 16
    client.remove_video(VIDEOS[1])
    client.remove_video(NEW)
    shown = client.candidates(None, k=everything)["video_ids"]
    assert len(shown) == 39
    assert not {NEW, VIDEOS[1]} & set(shown)
    for gone in (NEW, VIDEOS[1]):
        with pytest.raises(AnswerError, match=f"video {gone} was removed") as refused:
            client.similar(gone)
        assert refused.value.status == 404
    assert client.put_videos({VIDEOS[1]: {"tags": ["b"]}}) == {"shown": 1}
    assert VIDEOS[1] in client.candidates(None, k=everything)["video_ids"]
    assert len(client.similar(VIDEOS[1], k=3)["video_ids"]) == 3


def test_a_person_is_forgotten_everywhere(client: Client) -> None:
    found = client.candidates(USERS[5], k=3)
    client.events([{"user_id": USERS[5], "video_id": found["video_ids"][0]}])
    known = client.user(USERS[5])
    assert len(known["history"]) > 1
    assert len(known["events"]) == 1
    client.erase_user(USERS[5])
    assert client.user(USERS[5]) == {"user_id": USERS[5], "history": [], "events": [], "answers": []}
    again, nobody = client.candidates(USERS[5], k=3), client.candidates(None, k=3)
    assert (again["video_ids"], again["path"]) == (nobody["video_ids"], "new_user")


def test_what_was_shown_is_remembered(start: Start, tiny_bundle: Path) -> None:
    client = start(tiny_bundle, remember=1.0)
    found = client.candidates(USERS[7], k=4)
    client.erase_user(USERS[8])  # what was answered is kept before anybody is forgotten
    kept = client.user(USERS[7])["answers"]
    assert [(each["request_id"], each["video_ids"], each["path"]) for each in kept] == [
        (found["request_id"], found["video_ids"], "personal")
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        (
            "POST",
            "/v1/candidates",
            '{"user_id": 1, "kk": 3}',
            400,
            "field `kk`; the fields are user_id, k, exclude, allow, ",
        ),
        ("POST", "/v1/candidates", '{"history": [{"video": 1}]}', 400, "history[0]`; the fields are video_id, time_ms"),
        ("POST", "/v1/events", '[{"user": 1}]', 400, "$[0]`; the fields are user_id, video_id, "),
        ("POST", "/v1/candidates", '{"user_id": [1]}', 400, "int | str"),
        ("POST", "/v1/candidates", '{"k": 0}', 400, "k is 0; expected `int` >= 1"),
        ("POST", "/v1/candidates", '{"k": 1001}', 400, "k is 1001; expected `int` <= 1000"),
        ("POST", "/v1/candidates", "[3]", 400, "the body is [3]; expected `object`, got `array`"),
        ("POST", "/v1/candidates", '{"only": {"tags": 0.5}}', 400, "Expected `"),
        ("POST", "/v1/candidates", f'{{"k": "{"x" * 99}"}}', 400, f'k is "{"x" * 59}…; expected `int`, got `str`'),
        (
            "POST",
            "/v1/candidates",
            f'{{"k": "x", "exclude": {"[" * 50_000}',
            400,
            "Expected `int`, got `str` - at `$.k`",
        ),
        ("POST", "/v1/events", '[{"user_id": 1, "video_id": {}}]', 400, "[0].video_id is {}; expected `int"),
        (
            "POST",
            "/v1/candidates",
            f'{{"k": "x", "exclude": [{"1," * 40_000}1]}}',
            400,
            "Expected `int`, got `str` - at `$.k`",
        ),
        ("POST", "/v1/candidates", '{"user_id": "text"}', 400, "text"),
        ("POST", "/v1/candidates", '{"exclude": ["text"]}', 400, "text"),
        ("POST", "/v1/candidates", f'{{"user_id": {2**64}}}', 400, "user_id"),
        ("POST", "/v1/candidates", '{"only": {"color": "red"}}', 400, "no feature 'color'"),
        ("POST", "/v1/candidates", "{", 400, "the body is no JSON: Input data was truncated"),
        ("POST", "/v1/candidates", "", 400, "the body is empty"),
        ("POST", "/v1/bundle", " \n", 400, "the body is empty"),
        ("POST", "/v1/candidates", b"\xff\xfe", 400, ""),
        ("POST", "/v1/candidates", "[" * 50_000, 400, ""),
        ("POST", "/v1/candidates", f'{{"exclude": [{"1," * 60_000}1]}}', 413, "longer than"),
        ("POST", "/v1/events", '{"user_id": 1}', 400, "video_id"),
        ("POST", "/v1/events", '{"user_id": 1, "video_id": 2, "time_ms": 1e300}', 400, "time_ms"),
        ("POST", "/v1/events", '{"user_id": "1", "video_id": 2}', 400, "user '1' is not a whole number"),
        ("POST", "/v1/events", "[]", 400, "length >= 1"),
        ("PUT", "/v1/videos", '{"video_id": "text"}', 400, "no whole number|not a whole number"),
        ("PUT", "/v1/videos", '{"video_id": 5, "features": {"tags": "a"}}', 400, "list of names"),
        ("POST", "/v1/embeddings/videos", '{"ids": [5]}', 404, "video 5 is not among"),
        ("GET", "/v1/videos/5/similar", None, 404, "video 5 is not among"),
        ("GET", f"/v1/videos/{VIDEOS[0]}/similar?k=0", None, 400, "1 to 1000"),
        ("GET", "/v1/videos/x/similar", None, 400, "no whole number"),
        ("POST", "/v1/events", f'{{"user_id": 1, "video_id": 2, "labels": {{"x": 1{"0" * 20}}}}}', 400, "labels"),
        ("GET", "/v1/candidates", None, 405, "method"),
        ("GET", "/nowhere", None, 404, "no such path"),
        ("POST", "/v1/bundle", '{"version": "../../etc"}', 400, "version"),
        ("POST", "/v1/bundle", '{"version": "000009-00000000"}', 409, "there is no version"),
        ("POST", "/v1/bundle/rollback", None, 409, "no version before"),
    ],
)
def test_what_is_wrong_is_said(
    shared: str,
    method: str,
    path: str,
    body: str | bytes | None,
    status: int,
    words: str,
) -> None:
    answer = httpx.request(method, shared + path, content=body, timeout=30)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert any(word in told["error"] for word in words.split("|")), told
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in told["error"]


def test_a_body_that_does_not_come_is_not_waited_for(tiny_bundle: Path, tmp_path: Path) -> None:
    from towers.serving.http.app import App, Door

    made = make_app(ServeConfig(bundle=str(tiny_bundle), state=str(tmp_path / "state"), store=MemoryState()))
    with (
        running(App(made.service, Door(client_s=0.3))) as url,
        socket.create_connection((httpx.URL(url).host, httpx.URL(url).port), timeout=30) as connection,
    ):
        connection.sendall(b"POST /v1/candidates HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert httpx.get(f"{url}/healthz").json() == {"alive": True}


def test_answers_say_how_they_may_be_used(shared: str) -> None:
    answer = httpx.get(f"{shared}/readyz", headers={"x-request-id": "my-own_7"})
    assert answer.headers["x-request-id"] == "my-own_7"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    odd = httpx.get(f"{shared}/readyz", headers={"x-request-id": 'a"} injected'})
    assert odd.headers["x-request-id"].isalnum()


def test_keys_open_what_they_may(
    start: Start, tiny_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = str(tmp_path / "keys.json")
    first = add_key(KeyConfig(file=file, name="reader", scopes=["read", "write"]))
    with caplog.at_level("WARNING"):
        reader = add_key(KeyConfig(file=file, name="reader"))
    (told,) = caplog.messages
    assert told.startswith("key reader is replaced; the one of before, which might read, write, opens nothing any more")
    assert told.endswith("the new one may read")
    assert first != reader
    admin = add_key(KeyConfig(file=file, name="chief", scopes=["admin", "write"], per_second=3.0))
    assert reader not in Path(file).read_text()
    assert Path(file).stat().st_mode & 0o077 == 0
    client = start(tiny_bundle, key=reader, keys=file)
    url = client.url
    assert len(client.candidates(None, k=3)["video_ids"]) == 3
    with pytest.raises(
        AnswerError, match="this takes a key with the scope write; the scopes of key 'reader': read"
    ) as refused:
        client.events([{"user_id": 1, "video_id": 2}])
    assert refused.value.status == 403
    not_known = "that key is not known, or no more; send one that `towers key` printed"
    for wrong, why in (
        (None, "no key was sent"),
        ("", "no key was sent"),
        (f"{reader}x", not_known),
        (first, not_known),
    ):
        with Client(url, key=wrong, tries=0) as other, pytest.raises(AnswerError, match=why) as refused:
            other.candidates(None)
        assert refused.value.status == 401
    with Client(url, key=admin, tries=0) as chief:
        with pytest.raises(AnswerError, match="takes a key with the scope read"):
            chief.candidates(None)
        assert chief.adopt()["version"] == client.bundle()["version"]
        event = {"user_id": USERS[0], "video_id": VIDEOS[0], "time_ms": 1}
        with pytest.raises(AnswerError, match="3 requests a second") as refused:
            [chief.events([event]) for _ in range(20)]
        assert refused.value.status == 429
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_keys_are_read_again_when_their_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("towers.serving.http.keys.clock", lambda: now[0])
    path = tmp_path / "keys.json"
    leaked = add_key(KeyConfig(file=str(path), name="app")).encode()
    busy = add_key(KeyConfig(file=str(path), name="busy", per_second=1.0)).encode()
    keys = Keys.read(path)
    counted = keys.find(busy)
    assert counted is not None
    assert (counted.may_go(100.0), counted.may_go(100.0)) == (True, False)
    fresh = add_key(KeyConfig(file=str(path), name="app", scopes=["write"])).encode()
    assert keys.find(leaked) is not None  # it is looked at once a second
    now[0] = 1.0
    assert keys.find(leaked) is None
    found = keys.find(fresh)
    assert found is not None
    assert found.scopes == {"write"}
    assert keys.find(busy) is counted  # and goes on counting
    path.write_text("{")
    now[0] = 2.0
    assert keys.find(fresh) is found
    assert "the keys of before are good until it is mended" in caplog.text
    path.unlink()
    now[0] = 3.0
    assert keys.find(fresh) is found
    last = add_key(KeyConfig(file=str(path), name="app")).encode()
    with monkeypatch.context() as unreadable:
        unreadable.setattr(Path, "read_text", Mock(side_effect=PermissionError("not yours")))
        now[0] = 4.0
        assert keys.find(last) is None
    now[0] = 5.0  # the file is as it was: its owner may read it now
    assert keys.find(last) is not None
    assert keys.find(fresh) is None


def test_a_file_of_keys_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(KeyConfig(file=str(path), name="app"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    add_key(KeyConfig(file=str(path), name="app"))
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "evil.example:8000"}, "asked as 'evil.example'; without keys only this machine is served"),
        ({"host": "192.168.0.7:8000"}, "asked as '192.168.0.7'"),
        ({"host": "127.0.0.1.evil.example"}, "asked as '127.0.0.1.evil.example'"),
        ({"origin": "https://evil.example"}, "asked by a page of another site"),
        ({"origin": "null"}, "asked by a page of another site"),
        ({"origin": "http://localhost:1"}, "asked by a page of another site"),
        ({"sec-fetch-site": "cross-site"}, "asked by a page of another site"),
        ({"sec-fetch-site": "same-site"}, "asked by a page of another site"),
    ],
)
def test_without_keys_no_other_site_asks_by_somebodys_browser(
    client: Client, headers: dict[str, str], words: str
) -> None:
    told = httpx.post(
        f"{client.url}/v1/events", headers=headers, content=f'{{"user_id": {USERS[3]}, "video_id": {VIDEOS[0]}}}'
    )
    assert told.status_code == 403
    assert words in told.json()["error"]
    assert httpx.delete(f"{client.url}/v1/users/{USERS[3]}", headers=headers).status_code == 403
    assert client.user(USERS[3])["events"] == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "app.localhost", "[::1]", "127.0.0.9"])
def test_without_keys_this_machine_is_served(shared: str, host: str) -> None:
    port = httpx.URL(shared).port
    own = {"host": f"{host}:{port}", "origin": f"http://{host}:{port}", "sec-fetch-site": "same-origin"}
    assert httpx.post(f"{shared}/v1/candidates", headers=own, content="{}").status_code == 200


def test_ids_of_any_letters_are_found_in_paths(start: Start, tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset", string=True))
    publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact()))
    client, odd = start(tmp_path / "bundle"), "a/b c?%2F/ü"
    client.events([{"user_id": odd, "video_id": "id 003"}])
    assert [each["video_id"] for each in client.user(odd)["events"]] == ["id 003"]
    assert client.user("a")["events"] == []
    client.erase_user(odd)
    assert client.user(odd)["events"] == []
    client.put_videos({odd: {}})
    assert len(client.similar(odd, k=3)["video_ids"]) == 3
    client.remove_video(odd)
    with pytest.raises(AnswerError, match="was removed"):
        client.similar(odd)
    refused = httpx.delete(f"{client.url}/v1/users/%FF")
    assert (refused.status_code, refused.json()["error"][:25]) == (400, "the path cannot be read: ")


def test_others_are_not_served_without_keys(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"host is 0\.0\.0\.0, which others can reach, and there are no keys"):
        ServeConfig(bundle=str(tiny_bundle), store=MemoryState(), host="0.0.0.0")  # noqa: S104
    for host in ("127.0.0.1", "::1", "localhost"):
        assert ServeConfig(bundle=str(tiny_bundle), store=MemoryState(), host=host).host == host


def test_numbers_count_what_happened(client: Client) -> None:
    client.candidates(None, k=3)
    client.candidates(USERS[4], k=3)
    with pytest.raises(AnswerError):
        client.candidates("text")
    client.events([{"user_id": USERS[4], "video_id": VIDEOS[0], "event_id": "a"}] * 2)
    client.put_videos({NEW: {}})
    text = httpx.get(f"{client.url}/metrics").text
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(numbers['towers_requests_total{method="POST",route="/v1/candidates",status="200"}']) == 2
    assert float(numbers['towers_requests_total{method="POST",route="/v1/candidates",status="400"}']) == 1
    assert float(numbers['towers_candidates_total{path="new_user"}']) == 1
    assert float(numbers['towers_candidates_total{path="personal"}']) == 1
    assert float(numbers['towers_events_total{repeated="yes"}']) == 1
    assert float(numbers["towers_index_videos"]) == 41
    assert float(numbers['towers_request_duration_seconds_count{method="POST",route="/v1/candidates"}']) == 3
    assert not any(str(USERS[4]) in line or str(NEW) in line for line in text.splitlines())


def test_the_document_names_every_route(shared: str) -> None:
    told = httpx.get(f"{shared}/openapi.json").json()
    assert json.dumps(told).count("operationId") == sum(len(methods) for methods in told["paths"].values())
    assert told["components"]["schemas"]["CandidatesRequest"]["properties"]["k"]["default"] == 100


def test_what_cannot_be_served_is_said_at_the_start(tmp_path: Path) -> None:
    import asyncio

    app = make_app(ServeConfig(bundle=str(tmp_path / "nothing"), state=str(tmp_path / "s"), store=MemoryState()))
    with pytest.raises(BundleError, match="is no bundle"):
        asyncio.run(app.service.open())
