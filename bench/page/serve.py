"""Serves a page on this machine alone, made anew from the store when it is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from bench.errors import BenchError

LOOPBACK = "127.0.0.1"
SHARE = 4  # times as long as a page takes to make, it isn't made again
MADE = (
    "\N{WHITE SQUARE}\N{WHITE SQUARE}"  # stands for the time at which a page was made, which is no part of its content
)
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Kept:
    """A page that is made at most once in so many seconds, and rarer where that takes long: training has the processor.

    Args:
        make: makes it; :data:`MADE` stands in it for the time.
        seconds: from one making to the next.
    """

    def __init__(self, make: Callable[[], str], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._lock = threading.Lock()
        self._again, self._text, self._tag = 0.0, "", ""

    def get(self) -> tuple[str, str]:
        """Return the page, and what names its content.

        Raises:
            BenchError: what making it raised, such as for a grid that has become wrong while it is being edited.
        """
        with self._lock:
            if time.monotonic() >= self._again:
                began = time.monotonic()
                made = self._make()
                self._tag = f'"{hashlib.sha256(made.encode()).hexdigest()[:32]}"'
                self._text = made.replace(MADE, time.strftime("%Y-%m-%d %H:%M:%S"))
                now = time.monotonic()
                self._again = now + max(self._seconds, SHARE * (now - began))
            return self._text, self._tag


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of `/`, and nothing else."""

    server_version, sys_version = "bench", ""
    page: Kept

    def do_GET(self) -> None:
        """Answer with the page, or with 304 where the reader has it."""
        # A page elsewhere could reach this server through a name of its own that leads to this machine.
        if self.headers.get("Host", "").rpartition(":")[0] not in (LOOPBACK, "localhost"):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "this page is served to this machine alone\n")
        elif urlsplit(self.path).path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "there is one page here: /\n")
        else:
            self._page()

    do_HEAD = do_GET  # noqa: N815

    def _page(self) -> None:
        try:
            text, tag = self.page.get()
        except (BenchError, OSError) as error:  # a store may be away for a while
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            return
        if self.headers.get("If-None-Match") == tag:
            self._answer(HTTPStatus.NOT_MODIFIED, "", ETag=tag)
        else:
            self._answer(HTTPStatus.OK, text, ETag=tag)

    def _answer(self, status: HTTPStatus, text: str, **more: str) -> None:
        content = text.encode()
        kind = {} if status is HTTPStatus.OK else {"Content-Type": "text/plain; charset=utf-8"}
        self.send_response(status)
        for name, value in {**_HEADERS, **kind, **more, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and status is not HTTPStatus.NOT_MODIFIED:
            with contextlib.suppress(ConnectionError):  # the reader has gone
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: a reader asks every few seconds."""


def server(page: Kept, port: int) -> ThreadingHTTPServer:
    """Return a server of a page on this machine alone, not yet started.

    Args:
        page: what it serves.
        port: where; 0 takes any that is free.

    Raises:
        BenchError: if the port is taken.
    """
    handler = type("Handler", (_Handler,), {"page": page})
    try:
        made = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise BenchError(
            f"--port {port}: {getattr(error, 'strerror', None) or error}; give another one, or 0"
        ) from None
    made.daemon_threads = True
    return made
