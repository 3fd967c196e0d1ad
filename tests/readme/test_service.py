"""What the README shows of the service: its requests by curl and its client, against a real server."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.readme.blocks import blocks
from tests.serving.http.conftest import running
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import SqliteState

USER, VIDEO = tiny.ids_of(tiny.USERS, string=False)[5], tiny.ids_of(tiny.VIDEOS, string=False)[3]


def test_the_requests_and_the_client_of_the_readme_are_answered(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shell,) = [block for block in blocks("bash") if "/v1/candidates" in block]
    (client,) = blocks("py")
    app = make_app(
        ServeConfig(
            bundle=str(tiny_bundle), store=SqliteState(path=str(tmp_path / "db")), state=str(tmp_path / "state")
        )
    )
    own = {'"user_id": 3': f'"user_id": {USER}', "candidates(3": f"candidates({USER}", "4506": str(VIDEO)}
    own |= {'"tag"': '"tags"', ', "author_id": "6723181"': "", '"9"': '"a"', '"12"': '"b"', '"25"': '"b"'}
    with running(app) as url:
        answers = []
        for line in shell.splitlines():
            for written, mine in (own | {"localhost:8000": url}).items():
                line = line.replace(written, mine)
            command = [*shlex.split(line), "--silent", "--write-out", " %{http_code}"]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
        for written, mine in (own | {"http://127.0.0.1:8000": url}).items():
            client = client.replace(written, mine)
        exec(compile(client, "README.md", "exec"), {})  # noqa: S102
    assert [answer[-3:] for answer in answers] == ["200", "200", "200", "204"]
    assert len(re.findall(r"\d{16}", answers[0].partition("scores")[0])) == 5
    assert answers[1].startswith('{"new":1,"repeated":0,"unknown_videos":0}')
    assert len(capsys.readouterr().out.split(",")) == 5
