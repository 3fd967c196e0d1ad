"""What the page is told. Ids are texts, as one would type them: JavaScript knows no whole numbers above 2^53."""

from typing import Annotated

import msgspec
from msgspec import Meta


class PageKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key whose scopes are asked for; empty to ask whether one is needed."""

    key: Annotated[str, Meta(max_length=256)] = ""


class PageAccess(msgspec.Struct, frozen=True):
    """Whether keys are needed, and what the key that was sent may do; without keys anybody may do all."""

    keys: bool
    name: str
    scopes: list[str]


class PageVideo(msgspec.Struct, frozen=True):
    """A video: what is known of it, by the columns told beside, and where it lies on the map once that is drawn."""

    video_id: str
    facts: list[str]
    place: tuple[float, float] | None


class PageWatched(msgspec.Struct, frozen=True):
    """A video that was watched. `read` says whether it is among the newest that the towers read."""

    video: PageVideo
    time_ms: int | None
    read: bool


class PageBecause(msgspec.Struct, frozen=True):
    """A watched video that is like a candidate, and the inner product of both vectors."""

    video_id: str
    likeness: float


class PageCandidate(msgspec.Struct, frozen=True):
    """A video that would be shown, its score, and the watched videos most like it."""

    video: PageVideo
    score: float
    because: list[PageBecause]


class PageUser(msgspec.Struct, frozen=True):
    """A user's history, newest first, and what would be shown now, best first.

    `path`, `history_known` and `short_because` are as in the answer to POST /v1/candidates. `watched` counts the whole
    history, of which `history` may be a part, and `read` what of it the towers read. Nothing of this counts as shown.
    """

    user_id: str
    bundle_version: str
    columns: list[str]
    path: str
    history_known: bool
    short_because: str
    watched: int
    read: int
    history: list[PageWatched]
    candidates: list[PageCandidate]


class PageSomebody(msgspec.Struct, frozen=True):
    """A user who has watched something, to try the page with; empty where there is none."""

    user_id: str


class PageScored(msgspec.Struct, frozen=True):
    """A video and its inner product with another."""

    video: PageVideo
    score: float


class PageSimilar(msgspec.Struct, frozen=True):
    """A video, and the videos most like it."""

    video: PageVideo
    bundle_version: str
    columns: list[str]
    similar: list[PageScored]
    short_because: str


class PageMap(msgspec.Struct, frozen=True):
    """Where videos lie, within the unit circle, and the value of a feature that colours each.

    `state` is drawing, drawn or failed. `codes` are places in `values`, one above the last for all others. `catalogue`
    counts all videos of the bundle, of which the most watched are drawn.
    """

    state: str
    bundle_version: str
    catalogue: int = 0
    video_ids: list[str] = []
    x: list[float] = []
    y: list[float] = []
    feature: str = ""
    values: list[str] = []
    codes: list[int] = []


class PageRoute(msgspec.Struct, frozen=True):
    """Requests of a route since the start: by status, and how many took at most each of the bounds."""

    route: str
    by_status: dict[str, int]
    within: list[int]


class PageLive(msgspec.Struct, frozen=True):
    """Counts since the start, from whose differences rates come, and the state of now."""

    time_ms: int
    bundle_version: str
    bounds_s: list[float]
    routes: list[PageRoute]
    paths: dict[str, int]
    events: dict[str, int]
    state: dict[str, float]
    store_away: str


class PageFigure(msgspec.Struct, frozen=True):
    """A figure, and the ends of its 95% interval."""

    value: float
    low: float | None
    high: float | None


class PageJudged(msgspec.Struct, frozen=True):
    """Who was judged: the towers, or a floor that they have to beat; figures by name."""

    name: str
    figures: dict[str, PageFigure]


class PageVersion(msgspec.Struct, frozen=True):
    """A version: what it is, how it was judged, and what is wrong with it where it cannot be served."""

    name: str
    served: bool
    current: bool
    fault: str = ""
    created_at: str = ""
    videos: int = 0
    users: int = 0
    dim: int = 0
    index: str = ""
    verdict: str = ""
    judged: list[PageJudged] = []


class PageVersions(msgspec.Struct, frozen=True):
    """All versions, newest first, and which was refused last and why; empty where none was."""

    served: str
    refused: str
    refused_because: str
    versions: list[PageVersion]
