"""Videos as the page shows them: with what is known of each, and where it lies on the map."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from towers.data.vocabulary import FIRST_ROW
from towers.serving.facts import NOTHING, Facts
from towers.serving.page.maps import Map
from towers.serving.page.messages import PageVideo
from towers.serving.store import Id
from towers.serving.version import Version


def cards(version: Version, facts: Facts, drawn: Map | None, ids: Sequence[Id]) -> list[PageVideo]:
    """Return videos as the page shows them, [n].

    Args:
        version: Whose; of videos that it does not know nothing is told.
        facts: Of its bundle.
        drawn: Its map; None while there is none.
        ids: Which.
    """
    rows = version.catalogue.rows(list(ids)) if len(ids) else np.zeros(0, np.int64)
    told = _facts(version, facts, rows)
    places: list[tuple[float, float] | None] = [None] * len(rows)
    if drawn is not None:
        known = np.flatnonzero(rows >= FIRST_ROW)
        found = drawn.at(rows[known], version.catalogue.vectors_of(rows[known]))
        for place, (x, y) in zip(known.tolist(), found.tolist(), strict=True):
            places[place] = (x, y)
    return [PageVideo(str(video), said, where) for video, said, where in zip(ids, told, places, strict=True)]


def _facts(version: Version, facts: Facts, rows: Int64[np.ndarray, " n"]) -> list[list[str]]:
    published = (rows >= FIRST_ROW) & (rows < version.catalogue.first_new)
    told = facts.of(np.where(published, rows - FIRST_ROW, 0))
    for place, row in enumerate(rows.tolist()):
        if not published[place]:
            told[place] = [NOTHING] * len(facts.names)
        for feature, values in (version.retriever.chooser.said_of(row) or {}).items():
            if feature in facts.names:
                told[place][facts.names.index(feature)] = ", ".join(values) or NOTHING
    return told
