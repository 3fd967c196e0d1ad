"""What each request does: messages in, messages out."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from towers.data.vocabulary import FIRST_ROW
from towers.publishing import version_names
from towers.serving.asking import Ask, Watched
from towers.serving.candidates import Candidates, path_of
from towers.serving.http import messages as said
from towers.serving.http.routes import Call, Reply
from towers.serving.service import Service
from towers.serving.store import Event, Id, now_ms
from towers.serving.together import Shown
from towers.types import DataError

K_SIMILAR = 1000


async def candidates(call: Call) -> Reply:
    """Answer with the best videos for a user."""
    body: said.CandidatesRequest = call.body
    _check_moments(call, body)
    ask = Ask(body.user_id, body.k, body.exclude, time_ms=body.time_ms, keep_seen=body.keep_seen)
    if body.history is not None:
        ask = Ask(body.user_id, body.k, body.exclude, _watched(body.history), (), body.time_ms, body.keep_seen)
    shown = Shown(body.only, body.without, body.allow)
    found, known = await call.service.candidates(ask, call.request_id, shown)
    return Reply(
        said.CandidatesReply(
            request_id=call.request_id,
            video_ids=listed(found),
            scores=found.scores.tolist(),
            path=path_of(found.way),
            bundle_version=found.bundle_version,
            history_known=known,
            dropped=found.dropped,
            short_because=found.short_because,
        )
    )


def _check_moments(call: Call, body: said.CandidatesRequest) -> None:
    """Check the moment of a request, and the first and last of its history."""
    watched = [each.time_ms for each in body.history or () if isinstance(each, said.Watch)]
    told = [time_ms for time_ms in watched if time_ms is not None]
    asked = [] if body.time_ms is None else [body.time_ms]
    for time_ms in asked + ([min(told), max(told)] if told else []):
        call.service.version.check_time(time_ms)


async def events(call: Call) -> Reply:
    """Keep one event or several."""
    come: list[said.EventIn] = call.body if isinstance(call.body, list) else [call.body]
    now = now_ms()
    new = sum(await call.service.record([_event(each, now) for each in come]))
    rows = call.service.version.catalogue.rows([each.video_id for each in come])
    return Reply(said.EventsReply(new, len(come) - new, int(np.count_nonzero(rows < FIRST_ROW))))


async def put_videos(call: Call) -> Reply:
    """Show one video or several."""
    come: list[said.VideoIn] = call.body if isinstance(call.body, list) else [call.body]
    await call.service.put_videos([(each.video_id, each.features) for each in come])
    return Reply(said.VideosReply(len(come)))


async def remove_video(call: Call) -> Reply:
    """Show a video no more."""
    await call.service.remove_videos([video_of(call)])
    return Reply(b"", 204)


async def similar(call: Call) -> Reply:
    """Answer with the videos most like one."""
    found = await call.service.similar(video_of(call), call.whole_number("k", 10, K_SIMILAR))
    return Reply(said.SimilarReply(listed(found), found.scores.tolist(), found.bundle_version, found.short_because))


async def embed_users(call: Call) -> Reply:
    """Answer with the vectors of users as the bundle knows them."""
    return Reply(said.VectorsReply(call.service.embed_users(call.body.ids).tolist(), call.service.version.name))


async def embed_videos(call: Call) -> Reply:
    """Answer with the vectors of videos."""
    version = call.service.version
    return Reply(said.VectorsReply(version.retriever.embed_videos(call.body.ids).tolist(), version.name))


async def user(call: Call) -> Reply:
    """Answer with all that is known of a person."""
    who = user_of(call)
    kept = await call.service.export(who)
    events, answers = ([msgspec.to_builtins(each) for each in some] for some in (kept.events, kept.answers))
    history = [said.Watch(video, time_ms if time_ms > _UNKNOWN else None) for video, time_ms in kept.history]
    return Reply(said.UserReply(who, history, events, answers))


async def erase_user(call: Call) -> Reply:
    """Forget a person."""
    await call.service.erase(user_of(call))
    return Reply(b"", 204)


async def bundle(call: Call) -> Reply:
    """Say what is served."""
    return Reply(told(call.service))


async def adopt(call: Call) -> Reply:
    """Serve another version, or the one that the pointer names."""
    await call.service.versions.adopt(call.body.version)
    return Reply(told(call.service))


async def roll_back(call: Call) -> Reply:
    """Serve the version before."""
    await call.service.versions.roll_back()
    return Reply(told(call.service))


async def alive(_call: Call) -> Reply:
    """Say that the process answers."""
    return Reply(said.Alive())


async def ready(call: Call) -> Reply:
    """Say whether requests are answered."""
    health = await call.service.store.health()
    return Reply(said.Ready(True, call.service.version.name, health.away, health.waiting))


def told(service: Service) -> said.BundleReply:
    """Return what is served."""
    version, refused = service.version, service.versions.refused
    manifest, report = version.bundle.manifest, version.bundle.folder / "report.json"
    return said.BundleReply(
        version=version.name,
        created_at=manifest["created_at"],
        videos=len(version.catalogue.index),
        users=manifest["counts"]["users"],
        dim=manifest["dim"],
        geometry=manifest["geometry"],
        index=manifest["index"]["kind"],
        versions=version_names(version.bundle.folder.parent.parent),
        refused=f"{refused.name}: {refused.why}" if refused else "",
        evaluation=json.loads(report.read_text(encoding="utf-8"))["metrics"] if report.is_file() else {},
    )


def listed(found: Candidates) -> list[int | str]:
    """Return ids as JSON has them."""
    return found.ids.tolist() if isinstance(found.ids, np.ndarray) else list(found.ids)


def video_of(call: Call) -> Id:
    """Return the video that a path names.

    Raises:
        DataError: The bundle's ids are numbers, and it is none.
    """
    return _id("video", call.parts["video_id"], texts=call.service.version.bundle.videos.is_string)


def user_of(call: Call) -> Id:
    """Return the user that a path names.

    Raises:
        DataError: The bundle's ids are numbers, and it is none.
    """
    return _id("user", call.parts["user_id"], texts=call.service.version.bundle.users.is_string)


_UNKNOWN = -(2**53) - 1


def _id(kind: str, text: str, *, texts: bool) -> Id:
    if texts and 0 < len(text) <= 256:
        return text
    digits = text.removeprefix("-")
    if texts or not (digits.isascii() and digits.isdigit() and len(digits) < 20 and -(2**63) <= int(text) < 2**63):
        raise DataError(f"{kind} {text[:60]!r} is {'empty or long' if texts else 'no whole number of 64 bits'}")
    return int(text)


def _watched(history: Sequence[Id | said.Watch]) -> Watched:
    if not any(isinstance(each, said.Watch) for each in history):
        return [each for each in history if not isinstance(each, said.Watch)]
    return [(each.video_id, each.time_ms) if isinstance(each, said.Watch) else (each, None) for each in history]


def _event(told: said.EventIn, now: int) -> Event:
    time_ms = now if told.time_ms is None else told.time_ms
    parts: list[Any] = [told.user_id, told.video_id, time_ms, told.positive]
    return Event(
        event_id=told.event_id or msgspec.json.encode(parts).decode(),
        user_id=told.user_id,
        video_id=told.video_id,
        time_ms=time_ms,
        positive=told.positive,
        labels=told.labels,
        request_id=told.request_id,
    )
