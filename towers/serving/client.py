"""Asks a service over HTTP, from Python."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from towers.types import TowersError

Id = int | str
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


class _Budget:
    """How long requests may be tried again, in all: a service in trouble is not asked more for it.

    Each success earns a tenth of a try, each try again costs one; at most ten are saved.
    """

    def __init__(self, most: int) -> None:
        self._most, self._saved = most, 10.0

    def earn(self) -> None:
        self._saved = min(10.0, self._saved + 0.1)

    def pause(self, attempt: int, after: float) -> float | None:
        """Return how long to wait before trying again, None to give up."""
        if attempt >= self._most or self._saved < 1:
            return None
        self._saved -= 1
        return max(after, _PAUSE_S * 2**attempt * (0.5 + random.random() / 2))  # noqa: S311 - spreads load, hides nothing


class _Calls:
    """What can be asked, as method, path and body."""

    @staticmethod
    def candidates(user_id: Id | None, k: int, options: Mapping[str, Any]) -> tuple[str, str, Any]:
        return "POST", "/v1/candidates", {"user_id": user_id, "k": k, **options}

    @staticmethod
    def events(events: Sequence[Mapping[str, Any]]) -> tuple[str, str, Any]:
        return "POST", "/v1/events", list(events)

    @staticmethod
    def put_videos(videos: Mapping[Id, Mapping[str, Any]]) -> tuple[str, str, Any]:
        told = [{"video_id": video, "features": dict(features)} for video, features in videos.items()]
        return "PUT", "/v1/videos", told


def _decoded(response: httpx.Response) -> Any:  # noqa: ANN401
    """Return what was answered.

    Raises:
        AnswerError: It was refused.
    """
    if response.is_success:
        return response.json() if response.content else None
    try:
        fault = response.json()
        raise AnswerError(response.status_code, fault["error"], fault["request_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError(response.status_code, response.text[:200] or response.reason_phrase) from error


def _headers(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _place(video_or_user: Id) -> str:
    return httpx.URL("/").copy_with(path=f"/{video_or_user}").raw_path.decode()[1:]
