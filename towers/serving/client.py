"""Asks a service over HTTP, from Python."""

import asyncio
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from towers.types import TowersError

Id = int | str
_Got = httpx.Response | httpx.TransportError
_BUSY = {429, 502, 503, 504}
_PAUSE_S = 0.05


class AnswerError(TowersError):
    """The service refused a request; says why, and what HTTP's status was.

    Attributes:
        status: HTTP's; 0 where there was no answer.
        request_id: By which the service's log names the request.
    """

    def __init__(self, status: int, words: str, request_id: str = "") -> None:
        super().__init__(words)
        self.status, self.request_id = status, request_id

    def __reduce__(self) -> tuple[type["AnswerError"], tuple[int, str, str]]:
        """Return what it is made from again, in another process."""
        return type(self), (self.status, str(self), self.request_id)


class _Budget:
    """How long requests may be tried again, in all: a service in trouble is not asked more for it.

    Each answer earns a tenth of a try, each try again costs one; at most ten are saved.
    """

    def __init__(self, most: int) -> None:
        self._most, self._saved = most, 10.0

    def judge(self, attempt: int, got: _Got) -> float | None:
        """Return how long to wait before trying again, None to be content with what came."""
        if isinstance(got, httpx.Response) and got.status_code not in _BUSY:
            self._saved = min(10.0, self._saved + 0.1)
            return None
        if attempt >= self._most or self._saved < 1:
            return None
        self._saved -= 1
        after = _after(got) if isinstance(got, httpx.Response) else 0.0
        return max(after, _PAUSE_S * 2**attempt * (0.5 + random.random() / 2))  # noqa: S311 - spreads load, hides nothing


def _decoded(url: str, got: _Got) -> Any:  # noqa: ANN401
    """Return what was answered.

    Raises:
        AnswerError: It was refused, or nothing came.
    """
    if isinstance(got, httpx.TransportError):
        raise AnswerError(0, f"{url} gave no answer: {type(got).__name__}: {got}") from got
    if got.is_success:
        return got.json() if got.content else None
    try:
        fault = got.json()
        raise AnswerError(got.status_code, fault["error"], fault["request_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError(got.status_code, got.text[:200] or got.reason_phrase) from error


def _headers(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


class _Asking(ABC):
    """What can be asked. Of a `Client` each method returns the answer, of an `AsyncClient` it is to be awaited."""

    @abstractmethod
    def _ask(self, method: str, path: str, body: object = None, *, again: bool = True) -> Any:  # noqa: ANN401
        """Send a request; return the answer, or what gives it when it is awaited."""

    def candidates(self, user_id: Id | None = None, k: int = 100, **options: object) -> Any:  # noqa: ANN401
        """Return the best videos for a user: request_id, video_ids, scores, path and more, see CandidatesReply.

        Args:
            user_id: Whom to serve; None for somebody without an id.
            k: How many.
            options: exclude, allow, only, without, history, time_ms, keep_seen; see CandidatesRequest.
        """
        return self._ask("POST", "/v1/candidates", {"user_id": user_id, "k": k, **options})

    def events(self, events: Mapping[str, object] | Sequence[Mapping[str, object]]) -> Any:  # noqa: ANN401
        """Tell what users watched and were shown, one event or several; return how many were new.

        Each gets an event_id where it has none, so that what is tried again counts once.

        Args:
            events: user_id, video_id, and what else EventIn has.
        """
        several = [events] if isinstance(events, Mapping) else events
        told = [{"event_id": secrets.token_hex(12), **event} for event in several]
        return self._ask("POST", "/v1/events", told)

    def put_videos(self, videos: Mapping[Any, Mapping[str, object]]) -> Any:  # noqa: ANN401
        """Show videos from now on; return how many.

        Args:
            videos: Features of each, by its id.
        """
        told = [{"video_id": video, "features": dict(features)} for video, features in videos.items()]
        return self._ask("PUT", "/v1/videos", told)

    def remove_video(self, video_id: Id) -> Any:  # noqa: ANN401
        """Show a video no more."""
        return self._ask("DELETE", f"/v1/videos/{quote(str(video_id), safe='')}")

    def similar(self, video_id: Id, k: int = 10) -> Any:  # noqa: ANN401
        """Return the videos that are most like one."""
        return self._ask("GET", f"/v1/videos/{quote(str(video_id), safe='')}/similar?k={k}")

    def embed_users(self, ids: Sequence[Id]) -> Any:  # noqa: ANN401
        """Return the vectors of users as the bundle knows them."""
        return self._ask("POST", "/v1/embeddings/users", {"ids": list(ids)})

    def embed_videos(self, ids: Sequence[Id]) -> Any:  # noqa: ANN401
        """Return the vectors of videos."""
        return self._ask("POST", "/v1/embeddings/videos", {"ids": list(ids)})

    def user(self, user_id: Id) -> Any:  # noqa: ANN401
        """Return all that is known of a person."""
        return self._ask("GET", f"/v1/users/{quote(str(user_id), safe='')}")

    def erase_user(self, user_id: Id) -> Any:  # noqa: ANN401
        """Forget a person."""
        return self._ask("DELETE", f"/v1/users/{quote(str(user_id), safe='')}")

    def bundle(self) -> Any:  # noqa: ANN401
        """Return what is served."""
        return self._ask("GET", "/v1/bundle")

    def adopt(self, version: str | None = None) -> Any:  # noqa: ANN401
        """Have another version served, or the one that the bundle's pointer names."""
        return self._ask("POST", "/v1/bundle", {"version": version})

    def roll_back(self) -> Any:  # noqa: ANN401
        """Have the version before served; asked once, since twice would be the one before that."""
        return self._ask("POST", "/v1/bundle/rollback", again=False)

    def ready(self) -> Any:  # noqa: ANN401
        """Return whether requests are answered, and from what."""
        return self._ask("GET", "/readyz")


class Client(_Asking):
    """Asks a service and waits. What is refused for a moment is asked again, within a budget; threads may share it.

    All requests can be made twice without harm but `roll_back`, which is asked once: give it time (`timeout_s`).

    Args:
        url: As http://localhost:8000.
        key: That `towers key` made; None where none is asked for.
        timeout_s: How long one try may take.
        tries: How often one request is tried again at most.

    Attributes:
        url: Whom it asks.

    Example:
        >>> with Client("http://localhost:1", tries=0) as client:
        ...     try:
        ...         client.ready()
        ...     except AnswerError as error:
        ...         print(error)
        http://localhost:1 gave no answer: ConnectError: ...
    """

    def __init__(self, url: str, key: str | None = None, timeout_s: float = 1.0, tries: int = 2) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout_s)
        self._budget, self.url = _Budget(tries), url

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: object = None, *, again: bool = True) -> Any:  # noqa: ANN401
        for attempt in count():
            got: _Got
            try:
                got = self._http.request(method, path, json=_listed(body))
            except httpx.TransportError as error:
                got = error
            pause = self._budget.judge(attempt, got) if again else None
            if pause is None:
                return _decoded(self.url, got)
            time.sleep(pause)
        return None


class AsyncClient(_Asking):
    """As `Client`, for one event loop: each method is to be awaited."""

    def __init__(self, url: str, key: str | None = None, timeout_s: float = 1.0, tries: int = 2) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout_s)
        self._budget, self.url = _Budget(tries), url

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: object = None, *, again: bool = True) -> Any:  # noqa: ANN401
        for attempt in count():
            got: _Got
            try:
                got = await self._http.request(method, path, json=_listed(body))
            except httpx.TransportError as error:
                got = error
            pause = self._budget.judge(attempt, got) if again else None
            if pause is None:
                return _decoded(self.url, got)
            await asyncio.sleep(pause)
        return None


def _listed(body: Any) -> Any:  # noqa: ANN401
    """Return a body with NumPy's numbers and arrays, as Retriever gives them, in JSON's own kinds."""
    if isinstance(body, Mapping):
        return {name: _listed(value) for name, value in body.items()}
    if isinstance(body, list | tuple):
        return [_listed(value) for value in body]
    return body.tolist() if hasattr(body, "tolist") else body


def _after(response: httpx.Response) -> float:
    """Return how long the service asks to wait."""
    text = response.headers.get("retry-after", "0")
    return float(text) if text.isdigit() else 0.0
