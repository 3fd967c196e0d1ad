"""JSON lines: every line an object, every object a row."""

import json
from pathlib import Path

from towers.data.engine import Engine, literal
from towers.data.lines import keep_lines, load_lines
from towers.types import DataError


def load_json(engine: Engine, name: str, paths: list[Path], origin: str) -> None:
    """Make a table of the objects, with their values as text; other lines go to `malformed`.

    Args:
        engine: Where to.
        name: What the database calls the table.
        paths: The files.
        origin: What the user calls them, for messages.

    Raises:
        DataError: No line holds an object, or names differ in case alone.
    """
    load_lines(engine, name, paths)
    engine.run("judge_json", name=name)
    names = [key for (key,) in engine.select("json_names", name=name)]
    if not names:
        found = [begins for (begins,) in engine.select("first_line", name=name)]
        told = f"begins with {found[0]!r}, and no line is an object with a value" if found else "is empty"
        raise DataError(f'{origin} {told}; expected one JSON object per line, such as {{"user_id": 7, "video_id": 9}}')
    if alike := [name for place, name in enumerate(names) if name.lower() in map(str.lower, names[:place])]:
        raise DataError(f"{origin} has names that differ in case alone, such as {alike[0]!r}; rename one of them")
    engine.run("load_json", name=name, structure=literal(json.dumps(dict.fromkeys(names, "VARCHAR"))))
    keep_lines(engine, name)
    engine.run("forget_load", name=name)
