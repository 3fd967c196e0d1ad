"""The client beside a real HTTP server that does not answer as one would wish."""

import asyncio
import json
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

import towers.serving
from towers.serving import AsyncClient, Client
from towers.serving.client import AnswerError, _listed

BUSY = b'{"error": "too many at once", "request_id": "r7"}'


@contextmanager
def server(*statuses: int) -> Iterator[tuple[str, list[int]]]:
    """Answer with these, one after the other, the last one for ever; 0 cuts. Yield its URL and what it gave."""
    given: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses[min(len(given), len(statuses) - 1)]
            given.append(status)
            self.close_connection = True
            if status:
                body = b'{"ready": true}' if status == 200 else BUSY
                self.send_response(status)
                self.send_header("retry-after", "0")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", given
        finally:
            http.shutdown()
            thread.join()


def waiting(url: str, asked: int, **options: Any) -> list[object]:  # noqa: ANN401
    """Return what a client is answered, one after the other."""
    with Client(url, timeout_s=30.0, **options) as client:
        return [answer_of(client) for _ in range(asked)]


def answer_of(client: Client) -> object:
    try:
        return client.ready()
    except AnswerError as error:
        return error.status, str(error)


def awaited(url: str, asked: int, **options: Any) -> list[object]:  # noqa: ANN401
    """As `waiting`, of the other client."""

    async def main() -> list[object]:
        found: list[object] = []
        async with AsyncClient(url, timeout_s=30.0, **options) as client:
            for _ in range(asked):
                try:
                    found.append(await client.ready())
                except AnswerError as error:
                    found.append((error.status, str(error)))
        return found

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [waiting, awaited])


@both
def test_what_is_refused_for_a_moment_or_cut_is_asked_again(ask: Any) -> None:  # noqa: ANN401
    with server(503, 0, 200) as (url, given):
        assert ask(url, 1) == [{"ready": True}]
    assert given == [503, 0, 200]


@both
def test_a_refusal_that_stays_is_told_after_as_many_tries_as_were_given(ask: Any) -> None:  # noqa: ANN401
    with server(429) as (url, given):
        assert ask(url, 1, tries=1) == [(429, "too many at once")]
    assert given == [429] * 2


def test_what_a_retriever_gives_can_be_told() -> None:
    told = {"history": [np.int64(7)], "video_id": np.array([1, 2]), "features": {"content": (np.float32(0.5),)}}
    assert json.dumps(_listed(told)) == '{"history": [7], "video_id": [1, 2], "features": {"content": [0.5]}}'
    assert _listed({"user_id": None, "k": 3, "name": "a"}) == {"user_id": None, "k": 3, "name": "a"}


def test_to_roll_back_is_asked_once() -> None:
    async def main(url: str) -> None:
        async with AsyncClient(url, timeout_s=30.0) as client:
            await client.roll_back()

    for status in (503, 0):
        with server(status) as (url, given):
            with Client(url, timeout_s=30.0) as client, pytest.raises(AnswerError):
                client.roll_back()
            assert len(given) == 1
            with pytest.raises(AnswerError):
                asyncio.run(main(url))
            assert len(given) == 2


@both
def test_what_is_wrong_is_not_asked_again(ask: Any) -> None:  # noqa: ANN401
    with server(422) as (url, given):
        assert ask(url, 1) == [(422, "too many at once")]
    assert given == [422]


@both
def test_no_answer_is_told_with_who_was_asked(ask: Any) -> None:  # noqa: ANN401
    with server(0) as (url, given):
        ((status, words),) = ask(url, 1, tries=0)
    assert status == 0
    assert words.startswith(f"{url} gave no answer: RemoteProtocolError")
    assert given == [0]


@both
def test_a_service_in_trouble_is_not_asked_more_than_ten_times_more(ask: Any) -> None:  # noqa: ANN401
    with server(503) as (url, given):
        ask(url, 20)
    assert len(given) == 20 + 10
    with server(*[503] * 14, *[200] * 10, 503) as (url, given):
        ask(url, 25, tries=1)
    # Seven requests and a try of each meet the fourteen; ten answers earn one more, and the last eight use up the four.
    assert len(given) == 25 + 10 + 1


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "towers.serving.client")
    monkeypatch.delattr(towers.serving, "client")
    with pytest.raises(ModuleNotFoundError, match=r"towers\.serving\.Client needs httpx; pip install .*\[serve\]"):
        towers.serving.Client  # noqa: B018


def test_a_refusal_comes_back_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(AnswerError(503, "busy", "r-1")))  # noqa: S301 - our own
    assert (type(error), error.status, str(error), error.request_id) == (AnswerError, 503, "busy", "r-1")
