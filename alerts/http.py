"""Ask Prometheus or Alertmanager, for JSON above all, and turn every way in which that fails into one sentence.

A question is asked again within a budget, which the poller sets to one try: it asks again anyway, and a repeated
answer has no honest time. Redirects are followed, because an ingress in front of Prometheus may ask for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from drills.budget import ONCE, PASSING, Again, Budget, retry_after, within
from drills.errors import WorldError
from drills.reach import Reach

_EXCERPT = 200  # characters of a body that a sentence may carry

T = TypeVar("T")


class Passing(requests.RequestException):
    """An answer whose status another try may change; raised wherever an answer comes in."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(response=answer)
        self.answer = answer


class HttpSource:
    """One HTTP API that answers JSON. Not shared between threads: ``requests.Session`` is not thread-safe."""

    error: type[WorldError] = WorldError
    what = "the server"

    def __init__(self, at: str | Reach, *, timeout: float = 5.0, budget: Budget = ONCE) -> None:
        """``timeout`` in seconds, for connecting and between two reads of one try."""
        self.reach = Reach.plainly(at) if isinstance(at, str) else at
        self.url = self.reach.url
        self.name = self.reach.name
        self.timeout = timeout
        self.budget = budget
        self.session = requests.Session()
        self.session.auth = self._sign
        self.session.hooks["response"].append(_passing)
        self.session.verify = self.reach.verify and (self.reach.authority or True)
        self.session.cert = self.reach.certificate
        self.session.proxies = {} if self.reach.proxy is None else dict.fromkeys(("http", "https"), self.reach.proxy)
        # A proxy of the environment cannot reach the lab; certificates of the environment would win over those given.
        self.session.trust_env = self.reach.environment and self.reach.authority is None and not _is_loopback(self.url)
        self.mount()

    def mount(self) -> None:
        """Put the adapter in place that knows the server's name; again after whoever puts another there."""
        self.session.mount(self.url, _Adapter(self.reach.server_name))

    def get_json(self, path: str, params: Mapping[str, str | list[str]] | None = None) -> Any:
        """The decoded body of a 200 answer; raises the class's error otherwise."""

        def ask() -> Any:
            response = self.session.get(f"{self.url}{path}", params=params, timeout=self.timeout)
            if response.status_code != requests.codes.ok:
                raise self.error(self.refused(response, path))
            try:
                return response.json()
            except ValueError:
                raise Again(
                    self.error(
                        f"{self.what} at {self.name} did not answer JSON to {path} (a login page, or another server?): "
                        f"{response.text[:_EXCERPT]!r}"
                    )
                ) from None

        return self.asked(ask, path)

    def asked(self, ask: Callable[[], T], path: str) -> T:
        """The question's answer, asked again within the budget where it failed in passing."""

        def step() -> T:
            try:
                return ask()
            except Passing as error:
                after = retry_after(error.answer.headers.get("Retry-After"))
                raise Again(self.error(self.refused(error.answer, path)), after) from None
            except requests.exceptions.SSLError as error:
                raise self.error(self.unreachable(error)) from None
            except requests.RequestException as error:
                raise Again(self.error(self.unreachable(error))) from None

        return within(self.budget, step)

    def written(self, write: Callable[[], T], look: Callable[[], T | None], path: str) -> T:
        """What a write made. Where its answer was lost, or leaves open what was done, ``look`` says what is there
        before it is made again.
        """

        def step() -> T:
            try:
                return write()
            except requests.RequestException:
                with suppress(self.error):
                    if (found := look()) is not None:
                        return found
                raise
            except (LookupError, TypeError):
                raise self.error(self.another(path)) from None

        return self.asked(step, path)

    def read(self, path: str, parse: Callable[[Any], T], params: Mapping[str, str | list[str]] | None = None) -> T:
        """What ``parse`` makes of the JSON; the class's error where that is not what this API answers."""
        try:
            return parse(self.get_json(path, params))
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self.error(self.another(path)) from None

    def refused(self, response: requests.Response, path: str) -> str:
        """The sentence for an answer that is none."""
        hint = {401: "; does it need credentials?", 403: "; these credentials lack a right"}
        said = hint.get(response.status_code, "")
        return f"{self.what} at {self.name} answered {response.status_code} to {path}: {reason(response)}{said}"

    def unreachable(self, error: requests.RequestException) -> str:
        """The sentence for a request that got no answer."""
        if isinstance(error, requests.Timeout):
            return f"{self.what} at {self.name} did not answer within {self.timeout:g} s"
        if isinstance(error, requests.exceptions.SSLError):
            return f"{self.what} at {self.name}: the TLS handshake failed: {error}"
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return f"{self.what} at {self.name} broke its answer off"
        if isinstance(error, requests.ConnectionError):
            return f"{self.what} at {self.name} cannot be reached: is the address right, and is it up?"
        return f"{self.what} at {self.name}: {error}"

    def another(self, path: str) -> str:
        """The sentence for an answer that this API would not give."""
        return f"{self.name}{path} does not answer as {self.what} does: is the address right?"

    def close(self) -> None:
        """Close the connections that are kept open."""
        self.session.close()

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.reach.headers())
        return request


class _Adapter(HTTPAdapter):
    """Checks the server's certificate against another name than the address's."""

    def __init__(self, server_name: str | None) -> None:
        self._server_name = server_name
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """With the name for the handshake and for the check."""
        if self._server_name is not None:
            options |= {"server_hostname": self._server_name, "assert_hostname": self._server_name}
        super().init_poolmanager(*arguments, **options)


def _passing(response: requests.Response, *_: Any, **__: Any) -> None:
    if response.status_code in PASSING:
        raise Passing(response)


def reason(response: requests.Response) -> str:
    """What a failed answer says: Prometheus's ``error``, Alertmanager's text, or the beginning of the body."""
    return reason_of(response.text)


def reason_of(body: str) -> str:
    """See `reason`."""
    try:
        data = json.loads(body)
    except ValueError:
        return body[:_EXCERPT].strip() or "(no text)"
    if isinstance(data, dict):
        return str(data.get("error") or data.get("message") or body[:_EXCERPT])[:_EXCERPT]
    return str(data)[:_EXCERPT]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
