"""The server of a page: to this machine alone, one page, nothing but reading."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from bench.errors import BenchError
from bench.page.serve import MADE, SHARE, Kept, server

Answer = tuple[int, str, dict[str, str]]


class Served:
    """A server that counts how often it makes its page."""

    def __init__(self) -> None:
        self.made = 0
        self.content = "<p>one</p>"
        self.error: str | None = None
        self.server = server(Kept(self._make, 0.0), 0)
        self.port = int(self.server.server_address[1])

    def _make(self) -> str:
        self.made += 1
        if self.error:
            raise BenchError(self.error)
        return f"{self.content} made {MADE}"

    def ask(self, method: str = "GET", path: str = "/", **headers: str) -> Answer:
        """Ask, and return status, text and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers={"Host": f"localhost:{self.port}", **headers})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode(), dict(answer.getheaders())
        connection.close()
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    """A running server."""
    found = Served()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def test_the_page_is_made_anew_and_known_by_its_content(served: Served) -> None:
    status, text, headers = served.ask()
    assert status == 200 and text.startswith("<p>one</p> made 2") and MADE not in text
    assert headers["Content-Type"] == "text/html; charset=utf-8" and headers["Cache-Control"] == "no-store"
    tag = headers["ETag"]
    assert served.ask(**{"If-None-Match": tag})[:2] == (304, "")  # the time alone is no change
    served.content = "<p>two</p>"
    status, text, headers = served.ask(**{"If-None-Match": tag})
    assert status == 200 and text.startswith("<p>two</p>") and headers["ETag"] != tag


def test_it_answers_this_machine_alone(served: Served) -> None:
    assert served.server.server_address[0] == "127.0.0.1"
    status, text, _ = served.ask(Host="attacker.example:80")
    assert status == 421 and "<p>" not in text
    assert served.made == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(served: Served, method: str) -> None:
    assert served.ask(method)[0] == 501
    assert served.made == 0


@pytest.mark.parametrize("path", ["/cell.json", "/../etc/passwd", "//etc/passwd", "/%2e%2e/x"])
def test_there_is_one_page(served: Served, path: str) -> None:
    assert served.ask(path=path)[0] == 404


def test_head_has_the_headers_alone(served: Served) -> None:
    status, text, headers = served.ask("HEAD")
    assert (status, text) == (200, "") and int(headers["Content-Length"]) > 0


def test_what_is_wrong_with_the_grid_is_said(served: Served) -> None:
    served.error = "grid.yaml: line 3: the key 'x' is given twice"
    assert served.ask()[:2] == (503, "grid.yaml: line 3: the key 'x' is given twice\n")


def test_a_store_that_is_away_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> str:
        raise OSError(5, "Input/output error", "runs")

    monkeypatch.setattr(served.server.RequestHandlerClass, "page", Kept(away, 0.0))
    assert served.ask()[:2] == (503, "[Errno 5] Input/output error: 'runs'\n")


def test_a_page_that_takes_long_is_made_rarely() -> None:
    made: list[float] = []

    def slow() -> str:
        made.append(time.monotonic())
        time.sleep(0.05)
        return "page"

    kept = Kept(slow, 0.0)
    while len(made) < 3:
        kept.get()
    assert min(b - a for a, b in itertools.pairwise(made)) >= (1 + SHARE) * 0.05


def test_a_taken_port_is_one_line(served: Served) -> None:
    with pytest.raises(BenchError, match=f"--port {served.port}: Address already in use; give another one, or 0"):
        server(Kept(lambda: "", 1.0), served.port)
