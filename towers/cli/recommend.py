"""One user's candidates, with what is known about each video."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from towers.kinds import check_folders, check_kinds
from towers.types import ConfigError

if TYPE_CHECKING:
    from towers.publishing import Bundle

NAMED = 5
"""How many videos that the bundle does not know are named."""


@dataclass(kw_only=True)
class RecommendConfig:
    """Whose candidates to print, from which bundle."""

    bundle: str
    """Folder that `towers publish` wrote, or one of its versions."""
    user: str | None = None
    """Id of the user; one that the bundle does not know is served as new. May be left out where a history is given."""
    history: list[str] | None = None
    """Ids of videos watched, oldest first, instead of what the bundle knows about the user."""
    where: dict[str, Any] = field(default_factory=dict)
    """Only videos with a feature's value, or any of several: where.tag=12, 'where={tag:[12,40]}'."""
    k: int = 20
    """How many candidates."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        check_folders(self, "bundle")
        if self.k < 1:
            raise ConfigError(f"k is {self.k}; expected at least 1")
        if self.user == "":
            raise ConfigError("user is empty; give an id, or leave it out and give a history=[ID,ID]")
        if self.user is None and self.history is None:
            raise ConfigError("whose candidates? give user=ID, or the videos somebody watched: history=[ID,ID]")


@dataclass(frozen=True)
class Shelf:
    """Candidates as a person would want to see them.

    Attributes:
        user: Whose they are.
        header: Names of the columns.
        rows: For each candidate rank, id, score and what is known about it, as text.
        notes: What they were made from, told above the table; then what the user should know besides.
    """

    user: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def recommend(config: RecommendConfig) -> Shelf:
    """Return the best videos for a user, without those that the user has watched.

    Args:
        config: Whose, and from which bundle.

    Raises:
        BundleError: There is no bundle, or it is not as it was published.
        ConfigError: The bundle's ids are whole numbers, and one that was given is not; or there is no such feature.
    """
    from towers.data.vocabulary import FIRST_ROW
    from towers.serving import Retriever
    from towers.serving.chosen import no_video_has
    from towers.serving.facts import Facts

    retriever = Retriever.open(config.bundle)
    bundle = retriever.bundle
    user = None if config.user is None else _id("user", config.user, texts=bundle.users.is_string)
    watched = None
    if config.history is not None:
        watched = [_id("history", video, texts=bundle.videos.is_string) for video in config.history]
    asked = retriever.only(config.where) if config.where else retriever
    found = asked.candidates(user, k=config.k, history=watched)
    facts = Facts(bundle.video_table())
    told = facts.of(bundle.videos.rows(found.ids) - FIRST_ROW)
    rows = [
        [str(place), str(video), f"{score:.3f}", *known]
        for place, (video, score, known) in enumerate(zip(found.ids, found.scores, told, strict=True), start=1)
    ]
    above = [f"{_origin(bundle, user, watched)}; bundle version {found.bundle_version}"]
    above += [] if watched is None else _strangers(bundle, watched)
    unmet = retriever.chooser.unmet(config.where)
    above += [no_video_has(unmet)] if unmet else []
    notes = ["\n".join(above), *([found.short_because] if found.short_because else [])]
    return Shelf(config.user or "without an id", ["rank", "video", "score", *facts.names], rows, notes)


def _origin(bundle: "Bundle", user: int | str | None, watched: "list[int | str] | None") -> str:
    """Return in plain words what a user's candidates were made from."""
    from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW

    row = UNKNOWN_ROW if user is None else int(bundle.users.rows([user])[0])
    new = user is not None and row == UNKNOWN_ROW
    if watched is None:
        count, whose = len(bundle.positives.of(row)), "they watched"
    else:
        count, whose = int((bundle.videos.rows(watched) >= FIRST_ROW).sum()), "given"
    read = min(count, bundle.tower_arrays.window)
    of = f"newest {read} of the {count} videos" if read < count else "1 video" if count == 1 else f"{count} videos"
    if count:
        words = f"served as new, from the {of} {whose}" if new else f"from the {of} {whose}"
    elif row == UNKNOWN_ROW:
        words = "served as new, with neither a history nor features"
    else:
        words = "from the features of the user alone, without a history"
    return f"not in the bundle; {words}" if new else words


def _strangers(bundle: "Bundle", watched: "list[int | str]") -> list[str]:
    """Return a line on the videos of a history that the bundle does not know, if there are any."""
    from towers.data.vocabulary import FIRST_ROW

    places = (bundle.videos.rows(watched) < FIRST_ROW).nonzero()[0]
    named = ", ".join(str(watched[place]) for place in places[:NAMED]) + (", …" if len(places) > NAMED else "")
    if not len(places):
        return []
    if len(places) == len(watched):
        return [f"warning: no video of the history given is in the bundle, so it told nothing about the user: {named}"]
    return [f"not in the bundle, so left out, {len(places)} of the {len(watched)} videos given: {named}"]


def _id(option: str, text: str, *, texts: bool) -> int | str:
    if texts:
        return text
    try:
        number = int(text)
    except ValueError as error:
        raise ConfigError(f"{option}={text}: this bundle's ids are whole numbers") from error
    if not -(2**63) <= number < 2**63:
        raise ConfigError(f"{option}={text}: this bundle's ids are whole numbers of 64 bits")
    return number
