"""An OpenAI-compatible server on the loopback whose behaviour a test scripts."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmark.prompts.rules import RuleAligner

_ALIGNER = RuleAligner()


def honest(sentences: dict[int, str]) -> str:
    """A right answer, from the rule aligner."""
    listed = []
    for number, text in sentences.items():
        findings = [
            {
                "finding": _ALIGNER.lexicon[s.concept].name,
                "presence": s.presence,
                "side": s.side,
                "location": s.location,
                "severity": s.severity,
            }
            for s in _ALIGNER.statements(text)
        ]
        listed.append({"number": number, "findings": findings})
    return json.dumps({"sentences": listed})


def chat(content: str | None, **choice: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **choice}]
    }


@dataclass
class Script:
    """answer: (sentences, request number, body) → status and body; a float sleeps first. seen: requests."""

    answer: Callable[[dict[int, str], int, dict[str, Any]], tuple[int, Any]]
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    most: int = 0
    _now: int = 0

    def sentences(self) -> list[str]:
        """Every sentence that arrived, in order of arrival."""
        return [text for body in self.seen for text in asked(body).values()]


def asked(body: dict[str, Any]) -> dict[int, str]:
    lines = body["messages"][-1]["content"].splitlines()
    found = (re.fullmatch(r"(\d+)\. (.*)", line) for line in lines)
    return {int(m[1]): m[2] for m in found if m}


@contextlib.contextmanager
def server(answer: Callable[[dict[int, str], int, dict[str, Any]], tuple[int, Any]]) -> Iterator[Script]:
    script = Script(answer)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                script.seen.append(body)
                script.headers.append(dict(self.headers))
                number = len(script.seen)
                script._now += 1
                script.most = max(script.most, script._now)
            try:
                time.sleep(0.01)
                status, value = script.answer(asked(body), number, body)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", value["location"])
                if status == 429:
                    self.send_header("Retry-After", "3")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionError, OSError):
                pass
            finally:
                with lock:
                    script._now -= 1

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    try:
        yield script
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
