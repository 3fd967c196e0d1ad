"""Finds the fenced blocks of the README.

python -m tests.readme.blocks python    # print its Python, as one program
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """Return the README's blocks of one language, in order."""
    return [body for found, body in FENCE.findall(README.read_text(encoding="utf-8")) if found == language]


if __name__ == "__main__":
    sys.stdout.write("\n".join(blocks(sys.argv[1])))
