import resource
import sys
from types import SimpleNamespace

import pytest

from towers.types import peak_mb


@pytest.mark.parametrize(("platform", "counted"), [("linux", 2_000_000), ("darwin", 2_048_000_000)])
def test_peak_memory_is_in_millions_of_bytes_on_either_system(
    platform: str, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=counted))
    assert peak_mb() == 2048.0
