"""scripts/audit.sh fails on what is known to be wrong, and only there."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.processes import CHECKOUT, free_port

needs_tool = pytest.mark.skipif(not shutil.which("pip-audit"), reason="there is no pip-audit here; it is on PyPI")


def audit(url: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", str(CHECKOUT / "scripts" / "audit.sh")]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OSV_URL": url})


def advisory(name: str) -> dict[str, object]:
    told = {"id": "X-1", "summary": "", "details": "", "published": "2026-01-01T00:00:00Z"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
    affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
    return told | {"modified": told["published"], "affected": affected}


@contextmanager
def service(wrong: str, status: int = 200) -> Iterator[str]:
    """An advisory service that knows of one package."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(405)

        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
            body = json.dumps({"vulns": [advisory(name)]} if name == wrong else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_without_the_service_it_says_that_nothing_was_checked() -> None:
    done = audit(f"http://127.0.0.1:{free_port()}/v1/query")
    assert done.returncode == 0
    assert "SKIPPED, no package was checked" in done.stdout
    assert "Connection refused" in done.stdout


@needs_tool
def test_it_fails_on_what_is_known() -> None:
    with service("httpx") as url:
        done = audit(url)
    assert done.returncode == 1
    assert "X-1" in done.stdout
    assert "Found 1 known vulnerability in 1 package" in done.stderr


@needs_tool
def test_it_is_content_with_nothing_known() -> None:
    with service("nothing-of-ours") as url:
        done = audit(url)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "No known vulnerabilities found")


@needs_tool
def test_a_service_that_fails_is_none() -> None:
    with service("httpx", status=500) as url:
        done = audit(url)
    assert done.returncode == 0
    assert "SKIPPED, no package was checked" in done.stdout
