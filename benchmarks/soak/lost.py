"""Looks whether all that was acknowledged is there."""

import asyncio
from collections.abc import Collection
from urllib.parse import quote

import msgspec

from benchmarks.soak.asking import Connection
from benchmarks.soak.load import Load
from benchmarks.soak.world import Id, Person

AT_ONCE, WAYS = 500, 4
"""For how many videos one request asks, and over how many connections people are asked for."""


async def look_for(load: Load, people: Collection[Person], videos: Collection[Id], *, quiet: bool = False) -> None:
    """Look for the events of some people and for some videos; what is not there is noted as lost.

    Args:
        load: What keeps account.
        people: Whose events are looked for.
        videos: Which must be retrievable where they were put, and gone where they were removed.
        quiet: Whether nothing is under way, so that what is there beside it is wrong.
    """
    asked, listed = list(people), list(videos)
    await asyncio.gather(*(_look_for_events(load, asked[place::WAYS], quiet=quiet) for place in range(WAYS)))
    connection = Connection(load.service.port, load.key)
    for begin in range(0, len(listed), AT_ONCE):
        await _look_for_videos(load, connection, listed[begin : begin + AT_ONCE])
    connection.close()


async def _look_for_events(load: Load, people: Collection[Person], *, quiet: bool) -> None:
    connection = Connection(load.service.port, load.key)
    for person in people:
        told = set(person.told)
        reply, _ = await load.until_done(connection, "GET", f"/v1/users/{quote(str(person.id), safe='')}")
        there = {event["event_id"] for event in reply["events"]} if reply else set()
        load.lost += [f"event {name} of user {person.id!r}" for name in told - there]
        if quiet:
            load.wrong += [f"event {name} of user {person.id!r} was never told" for name in there - told]
        load.counts["events looked for"] += len(told)
    connection.close()


async def _look_for_videos(load: Load, connection: Connection, videos: list[Id]) -> None:
    world, unsure, begun = load.world, set(load.world.doubtful), len(load.world.begun)
    body = {"user_id": None, "k": 2 * AT_ONCE, "allow": videos}
    reply, _ = await load.until_done(connection, "POST", "/v1/candidates", body)
    there = set(msgspec.json.decode(reply)["video_ids"]) if reply else set()
    unsure |= set(world.begun[begun:])
    for video in videos:
        if video in unsure:
            continue
        if world.is_shown(video) != (video in there):
            what = "is not found" if world.is_shown(video) else "was removed and is shown"
            load.lost.append(f"video {video!r} {what}")
        load.counts["videos looked for"] += 1
