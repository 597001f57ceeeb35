"""What the tests share: the real bridge, whoever decides, and a door that breaks on purpose."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, List, Optional, Tuple
from urllib.parse import urlsplit

BINARY = os.environ["HOLDPOINT_TEST_BINARY"]
URL = os.environ["HOLDPOINT_BRIDGE_URL"]
PATIENCE = 30.0


def holdpoint(*arguments: str) -> str:
    ran = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return ran.stdout


def threads(subject: str) -> List[Any]:
    """The open reviews that a reviewer sees under this subject."""
    return [thread for thread in json.loads(holdpoint("inbox", "--json")) if thread["subject"] == subject]


def thread(subject: str) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = threads(subject)
        if found:
            assert len(found) == 1, found
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"nobody was asked: {subject}")


class Reviewer(threading.Thread):
    """Decides about one subject as soon as it is asked."""

    def __init__(self, subject: str, word: str, note: str = "", before: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.subject, self.word, self.note, self.before = subject, word, note, before
        self.seen: Any = None

    def __enter__(self) -> "Reviewer":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.join()

    def run(self) -> None:
        self.seen = thread(self.subject)
        self.before()
        holdpoint(self.word, self.seen["thread_id"], "--note", self.note)


Reply = Tuple[int, List[Tuple[str, str]], bytes]
#: What happens to a request: ``None`` passes it on as it is; a reply is sent instead; `forward` asks the bridge.
Fault = Callable[[int, "Door", Callable[[], Reply]], Optional[Reply]]


class Door:
    """A proxy in front of the bridge that does what a test says to each request, by its number."""

    #: Closes the connection without a word.
    LOST: Reply = (0, [], b"")

    def __init__(self, fault: Fault) -> None:
        self.requests: List[Tuple[str, str, Optional[str]]] = []
        self.bodies: List[bytes] = []
        door, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with lock:
                    number = len(door.requests)
                    door.requests.append((self.command, self.path, self.headers.get("idempotency-key")))
                    door.bodies.append(body)

                def forward() -> Reply:
                    bridge = http.client.HTTPConnection(urlsplit(URL).netloc, timeout=60)
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                    bridge.request(self.command, self.path, body or None, headers)
                    answer = bridge.getresponse()
                    reply = (answer.status, answer.getheaders(), answer.read())
                    bridge.close()
                    return reply

                reply = fault(number, door, forward) or forward()
                self.close_connection = True
                if reply is Door.LOST:
                    return
                status, headers, text = reply
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Door":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def free_port() -> int:
    """Where nobody listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = server.server_address[1]
    server.server_close()
    return int(port)


class Runs:
    """What ran."""

    def __init__(self) -> None:
        self.all: List[Any] = []
        self._lock = threading.Lock()

    def note(self, what: Any) -> str:
        with self._lock:
            self.all.append(what)
        return "done"
