"""The connection to a Kubernetes API: one place where a call is made, and where every failure becomes one sentence.

Objects are plain JSON (``Obj``), as the API sent them. Nothing of a request is ever put into an error, so that no
Secret can end up in a log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import client
from kubernetes import config as _untyped_config
from kubernetes.config.config_exception import ConfigException

from drills.errors import InputError, WorldError

Obj: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str]

CONNECT_SECONDS = 2.0
READ_SECONDS = 10.0
config: Any = _untyped_config
_LONGEST_REASON = 300  # characters of what the API says; more belongs in its own log


class KubeError(WorldError):
    """The API did not do what it was asked; ``status`` is its HTTP status, None if it did not answer at all."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """A connection that many threads may share.

    Requests go through the official client's connection pool (its kubeconfig, TLS, proxy and credentials), not through
    its generated methods: importing those takes seconds (kubernetes 37), and their objects change between releases.
    """

    def __init__(self, configuration: Any, name: str, kubeconfig: Path | None = None) -> None:
        self.name = name  # of the kubeconfig's context
        self.kubeconfig = kubeconfig
        self._configuration = configuration
        self._pool = client.ApiClient(configuration).rest_client.pool_manager

    @property
    def address(self) -> str:
        """The API's URL."""
        return str(self._configuration.host).rstrip("/")

    def credentials(self) -> dict[str, str]:
        """The headers that say who asks; a token is renewed when the kubeconfig's plugin says so."""
        return {entry["key"]: entry["value"] for entry in self._configuration.auth_settings().values()}

    def call(self, doing: str, method: str, path: str, *, query: Query | None = None, body: Obj | None = None) -> Obj:
        """The JSON that the API answers. ``doing`` ends the sentence "could not ...". Raises KubeError."""
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        headers = {**self.credentials(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        text = None if body is None else json.dumps(body)
        try:
            # No retries: one that nobody sees would falsify times. No redirects: they could carry the token away.
            answer = self._pool.request(
                method, url, headers=headers, body=text, timeout=timeout, retries=False, redirect=False
            )
            if not 200 <= answer.status < 300:
                raise refusal(doing, answer.status, answer.data, str(answer.reason))
            found: Obj = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            raise failure(doing, error, self.address) from None
        return found

    def find(
        self, doing: str, method: str, path: str, *, query: Query | None = None, body: Obj | None = None
    ) -> Obj | None:
        """As ``call``; None where there is no such object."""
        try:
            return self.call(doing, method, path, query=query, body=body)
        except KubeError as error:
            if error.status == 404:
                return None
            raise


def core(plural: str, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """The path of a core object, or of a list of them."""
    return _path("/api/v1", plural, namespace, name, subresource)


def custom(group: str, version: str, plural: str, namespace: str | None = None, name: str | None = None) -> str:
    """The path of an object of any other group."""
    return _path(f"/apis/{group}/{version}", plural, namespace, name, None)


def _path(root: str, plural: str, namespace: str | None, name: str | None, subresource: str | None) -> str:
    parts = ["namespaces", namespace] if namespace is not None else []
    parts += [part for part in (plural, name, subresource) if part is not None]
    return "/".join([root, *(quote(part, safe="") for part in parts)])


def configure(*, kubeconfig: Path | None = None, context: str | None = None) -> tuple[Any, str]:
    """The client's configuration and the context's name: a kubeconfig, or inside a cluster its service account.

    InputError for a file or a context that is not there, WorldError where there is neither kubeconfig nor cluster.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise InputError(f"There is no kubeconfig {kubeconfig}")
    configuration = client.Configuration()
    try:
        contexts, active = config.list_kube_config_contexts(_text(kubeconfig))
    except Exception as error:  # noqa: BLE001 - of a broken file the client lets through whatever its parsers raise
        if kubeconfig is None and context is None and isinstance(error, ConfigException):
            return _in_cluster(configuration), "in-cluster"
        raise WorldError(f"The kubeconfig cannot be used: {_short(str(error))}") from None
    names = [entry["name"] for entry in contexts]
    if context is not None and context not in names:
        raise InputError(f'The kubeconfig has no context "{context}"; it has {", ".join(names) or "none"}')
    try:
        config.load_kube_config(_text(kubeconfig), context, configuration, persist_config=False)
    except Exception as error:  # noqa: BLE001 - the client lets whatever its plugins raise through
        raise WorldError(f"The kubeconfig cannot be used: {_short(str(error))}") from None
    return configuration, context or str(active["name"])


def _in_cluster(configuration: Any) -> Any:
    try:
        config.load_incluster_config(configuration)
    except ConfigException:
        raise WorldError(
            "There is no kubeconfig and this is no pod: name a cluster with --context, or use --lab"
        ) from None
    return configuration


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def refusal(doing: str, status: int, body: bytes | str | None, reason: str) -> KubeError:
    """One sentence for what the API said: the message of its Status object, with the HTTP status."""
    try:
        said = json.loads(body or "")
        message = str(said["message"]) if isinstance(said, Mapping) else ""
    except (ValueError, KeyError):
        message = ""
    hint = {401: "; are the credentials still valid?", 403: "; the context's user lacks a right"}
    text = f"The Kubernetes API could not {doing}: {_short(message or reason)} ({status}){hint.get(status, '')}"
    return KubeError(text, status)


def failure(doing: str, error: Exception, address: str) -> KubeError:
    """One sentence for an API that did not answer, or not as an API does."""
    return KubeError(f"The Kubernetes API at {address} could not {doing}: {_connection(error)}")


def _connection(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NewConnectionError() | ConnectionRefusedError():  # the first is a timeout, too
            return "nothing answers there"
        case urllib3.exceptions.TimeoutError() | TimeoutError():
            return "it did not answer in time"
        case urllib3.exceptions.SSLError():
            return f"TLS failed ({_short(str(error))})"
        case json.JSONDecodeError():
            return "what answers there is no Kubernetes API"
    return _short(str(error) or type(error).__name__)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."
