"""Where answers come from: an OpenAI-compatible endpoint, a local model, or a recorded file."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.pretrained import from_folder, model_from_folder
from benchmark.prompts.llm.protocol import Message, answer_schema

KEY_VARIABLE = "CXR_ALIGNBENCH_LLM_KEY"


class NoAnswer(Exception):
    """The back end gave no answer in time, or not one that can be read; asking later may help."""


class Refused(Exception):
    """The model declined to answer."""


class Backend(Protocol):
    """identity: what answers depend on besides the messages, for the cache key. remote: does text leave
    this machine? batch: sentences a request. concurrency: requests at a time."""

    @property
    def identity(self) -> str: ...

    @property
    def remote(self) -> bool: ...

    @property
    def batch(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    def complete(self, messages: Sequence[Message]) -> str:
        """Raises NoAnswer, Refused, or BenchError where going on is pointless."""
        ...


@dataclass
class Endpoint:
    """`POST <url>/chat/completions`, temperature 0.

    url: base, such as http://127.0.0.1:8080/v1. model: its name is the identity of the answers, whichever
    server runs it, so that a moved server is not asked again. The key is read from
    $CXR_ALIGNBENCH_LLM_KEY. time_out in seconds, of one request; attempts: tries of one request on 408,
    429, 5xx and broken connections, waiting `wait` · 2ⁿ seconds or what Retry-After says. Redirects are
    not followed: text goes to `url` or nowhere.
    """

    url: str
    model: str
    time_out: float = 60.0
    attempts: int = 4
    wait: float = 1.0
    batch: int = 8
    concurrency: int = 4
    sleep: Callable[[float], None] = time.sleep
    _plain: bool = field(default=False, init=False)
    """The server rejected `response_format`."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BenchError(f"--endpoint {self.url}: expected an address such as http://127.0.0.1:8080/v1.")
        if parts.username or parts.password or parts.query:
            raise BenchError(f"--endpoint: put the key into ${KEY_VARIABLE}, not into the address.")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if not self.remote:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def identity(self) -> str:
        return hash_value(["endpoint", self.model])

    @property
    def remote(self) -> bool:
        return not is_loopback(urlsplit(self.url).hostname or "")

    def complete(self, messages: Sequence[Message]) -> str:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "temperature": 0, "seed": 0}
        for attempt in range(self.attempts):
            try:
                return self._text(self._post(body))
            except urllib.error.HTTPError as error:
                error.close()
                pause = self._judge(error, attempt)
            except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ValueError):
                pause = self.wait * 2**attempt
            if attempt + 1 < self.attempts:
                self.sleep(pause)
        raise NoAnswer

    def _post(self, body: dict[str, Any]) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "findings", "schema": answer_schema()}}
        content = body if self._plain else {**body, "response_format": form}
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
        request = urllib.request.Request(  # noqa: S310  (http and https only, see __post_init__)
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(content).encode(), headers, method="POST"
        )
        with self._opener.open(request, timeout=self.time_out) as answer:
            return json.loads(answer.read(4 << 20))

    def _judge(self, error: urllib.error.HTTPError, attempt: int) -> float:
        """Seconds to wait before the next try, or BenchError. The server's text is never repeated: it may
        quote the report."""
        if error.code in (400, 422) and not self._plain:
            self._plain = True
            return 0.0
        if error.code in (408, 409, 425, 429) or error.code >= 500:
            asked = error.headers.get("Retry-After", "") if error.headers else ""
            return min(float(asked), 120.0) if asked.isdigit() else self.wait * 2**attempt
        hint = f" Set ${KEY_VARIABLE}." if error.code in (401, 403) else " Check --endpoint and --model."
        raise BenchError(f"{self.url}: the server answers HTTP {error.code}.{hint}") from None

    @staticmethod
    def _text(answer: Any) -> str:
        try:
            choice = answer["choices"][0]
            message = choice["message"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("no choices") from None
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            raise Refused
        content = message.get("content")
        return content if isinstance(content, str) else ""


@dataclass
class LocalModel:
    """A transformers model on this machine: a folder with safetensors, or one GGUF file. Greedy decoding."""

    path: Path
    max_tokens: int = 400
    batch: int = 1
    concurrency: int = 1
    remote: bool = False
    _loaded: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        if not self.path.exists():
            raise BenchError(f"{self.path}: no such model. Give a GGUF file or a folder with safetensors.")

    @cached_property
    def identity(self) -> str:
        files = [self.path] if self.path.is_file() else sorted(p for p in self.path.iterdir() if p.is_file())
        weights = [p for p in files if p.suffix in (".gguf", ".safetensors", ".json", ".model")]
        if not weights:
            raise BenchError(f"{self.path}: neither GGUF nor safetensors weights are here.")
        return hash_value(["local", [[p.name, hash_file(p)] for p in weights], self.max_tokens])

    def complete(self, messages: Sequence[Message]) -> str:
        import torch

        tokenizer, model = self._load()
        if tokenizer.chat_template:
            prompt = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        else:
            prompt = "\n\n".join(m["content"] for m in messages) + "\n\n"
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=self.max_tokens,
                do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )
        text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return _first_object(text)

    def _load(self) -> Any:
        if self._loaded is None:
            import torch

            file = self.path.name if self.path.is_file() else None
            folder = str(self.path.parent if file else self.path)
            options: dict[str, Any] = {"gguf_file": file} if file else {}
            missing = [name for name in ("gguf", "accelerate") if file and find_spec(name) is None]
            if missing:
                raise BenchError(
                    f"{self.path}: reading GGUF needs the package {' and '.join(missing)}: "
                    "pip install 'cxr-alignbench[llm]'."
                )
            tokenizer = from_folder("AutoTokenizer", folder, **options)
            model = model_from_folder("AutoModelForCausalLM", folder, dtype=torch.float32, **options)
            model.train(False)
            self._loaded = tokenizer, model
        return self._loaded


def is_loopback(host: str) -> bool:
    """Does a host name stand for this machine? Names are not resolved, except `localhost`, whose every
    address must be a loopback one."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    if host.lower() != "localhost":
        return False
    try:
        return all(ipaddress.ip_address(a[4][0]).is_loopback for a in socket.getaddrinfo(host, None))
    except OSError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _first_object(text: str) -> str:
    """A model that does not stop repeats itself: keep the first JSON object, else the text as it is."""
    start = text.find("{")
    if start < 0:
        return text
    try:
        _, end = json.JSONDecoder().raw_decode(text[start:])
    except json.JSONDecodeError:
        return text
    return text[start : start + end]
