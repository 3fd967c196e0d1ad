"""What is said over HTTP: JSON that is checked while it is read, and from which the OpenAPI document is made."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Id = Number | Text
TimeMs = Annotated[int, Meta(ge=-(2**53), le=2**53, description="UTC, in milliseconds")]
Values = Text | Number | Annotated[list[Text | Number], Meta(max_length=10_000)]
Ids = Annotated[list[Id], Meta(max_length=100_000)]
Where = Annotated[dict[str, Values], Meta(max_length=32)]
K = Annotated[int, Meta(ge=1, le=1000)]


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A video that was watched, and when."""

    video_id: Id
    time_ms: TimeMs | None = None


class CandidatesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to serve, and what may be shown.

    `history` stands in place of what is known of the user, whose watched videos stay hidden. `exclude` hides videos,
    `allow` leaves no others. `only` and `without` name values of features: of each any will do, all features must suit.
    """

    user_id: Id | None = None
    k: K = 100
    exclude: Ids = []
    allow: Ids | None = None
    only: Where = {}
    without: Where = {}
    history: Annotated[list[Id | Watch], Meta(max_length=10_000)] | None = None
    time_ms: TimeMs | None = None
    keep_seen: bool = False


class CandidatesReply(msgspec.Struct, frozen=True):
    """Videos, best first.

    `path` is personal (from what the user watched), new_user (nothing is known), popular (the towers gave no answer) or
    similar. `history_known` is false where the store could not be asked: what was watched lately did not count then.
    `dropped` tells how many videos of the history are unknown, `short_because` why there are fewer than k.
    """

    request_id: str
    video_ids: list[int | str]
    scores: list[float]
    path: str
    bundle_version: str
    history_known: bool
    dropped: int
    short_because: str


class EventIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user met a video.

    `positive` says whether it counts as watched, as positives did in training: it is read as history, and the video is
    not shown again. One with the same `event_id` again changes nothing, as long as the service keeps the first (a
    month, unless its `keep_days` says otherwise); without one, what is said of user, video, time and positive tells
    events apart. `request_id` is that of the answer which the video was shown from.
    """

    user_id: Id
    video_id: Id
    time_ms: TimeMs | None = None
    positive: bool = True
    event_id: Annotated[str, Meta(max_length=256)] = ""
    labels: Annotated[dict[str, float | Number | str | bool | None], Meta(max_length=64)] = {}
    request_id: Annotated[str, Meta(max_length=128)] = ""


Events = Annotated[list[EventIn], Meta(min_length=1, max_length=10_000)]


class EventsReply(msgspec.Struct, frozen=True):
    """How many events were new, and how many had come before; all are durable.

    `unknown_videos` tells how many are of videos that nothing is known of now: ids that are mistyped, or come later.
    """

    new: int
    repeated: int
    unknown_videos: int


class VideoIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A video and what is known of it, as the bundle's towers read it; what is left out is unknown."""

    video_id: Id
    features: Annotated[dict[str, Any], Meta(max_length=256)] = {}


Videos = Annotated[list[VideoIn], Meta(min_length=1, max_length=10_000)]


class VideosReply(msgspec.Struct, frozen=True):
    """How many videos are shown from now on."""

    shown: int


class IdsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids of users or videos."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)]


class VectorsReply(msgspec.Struct, frozen=True):
    """A vector for each id, or several where the towers give each user several."""

    vectors: list[list[Any]]
    bundle_version: str


class SimilarReply(msgspec.Struct, frozen=True):
    """Videos that are most like one, best first."""

    video_ids: list[int | str]
    scores: list[float]
    bundle_version: str
    short_because: str


class UserReply(msgspec.Struct, frozen=True):
    """All that is known of a person: what they watched, the events that came, and what they were shown."""

    user_id: int | str
    history: list[Watch]
    events: list[dict[str, Any]]
    answers: list[dict[str, Any]]


class VersionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version to serve; none for the one that the bundle's pointer names."""

    version: Annotated[str, Meta(pattern="^[0-9]{6}-[0-9a-f]{8}$")] | None = None


class BundleReply(msgspec.Struct, frozen=True):
    """What is served, what else there is, and what was refused last and why."""

    version: str
    created_at: str
    videos: int
    users: int
    dim: int
    geometry: str
    index: str
    versions: list[str]
    refused: str
    evaluation: dict[str, Any]


class Ready(msgspec.Struct, frozen=True):
    """Whether requests are answered, and from what."""

    ready: bool
    version: str
    store_away: str
    waiting: int


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    alive: bool = True


class Fault(msgspec.Struct, frozen=True):
    """What is wrong and what to do, and the request's id, which the log names too."""

    error: str
    request_id: str
