"""The connection to a Kubernetes API: one place where a call is made, and where every failure becomes one sentence.

Objects are plain JSON (``Obj``), as the API sent them. Nothing of a request is ever put into an error, so that no
Secret can end up in a log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import client
from kubernetes import config as _untyped_config
from kubernetes.config.config_exception import ConfigException

from drills.budget import PASSING, Again, Budget, retry_after, within
from drills.errors import InputError, WorldError

Obj: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str]
Look: TypeAlias = Callable[[], tuple[Obj | None, bool]]

CONNECT_SECONDS = 2.0
NOT_FOUND, CONFLICT, TOO_MANY = 404, 409, 429
STRATEGIC = "application/strategic-merge-patch+json"
BUDGET = Budget()
IN_CLUSTER = "in-cluster"  # in place of a context's name
config: Any = _untyped_config
_LONGEST_REASON = 300  # characters of what the API says; more belongs in its own log


class KubeError(WorldError):
    """The API did not do what it was asked; ``status`` is its HTTP status, None if it did not answer at all."""

    def __init__(self, message: str, status: int | None = None, after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.after = after  # seconds that the API asks to wait
        self.reading = False  # whether it was only to say something
        self.seen = False  # whether it was looked afterwards, and nothing had been done

    @property
    def unknown(self) -> bool:
        """Whether a change may have been made all the same: no answer at all, or one of a server in trouble."""
        return self.status is None or self.status >= 500

    @property
    def uncertain(self) -> bool:
        """Whether it leaves open how things are: nothing was said, or nothing that counts."""
        return not self.seen and (self.unknown or self.status == TOO_MANY or self.reading)

    @property
    def passing(self) -> bool:
        """Whether another try may help."""
        return self.status is None or self.status in PASSING


class Api:
    """A connection that many threads may share.

    Requests go through the official client's connection pool (its kubeconfig, TLS, proxy and credentials), not through
    its generated methods: importing those takes seconds (kubernetes 37), and their objects change between releases.
    """

    def __init__(
        self, configuration: Any, name: str, kubeconfig: Path | None = None, *, budget: Budget = BUDGET
    ) -> None:
        self.name = name  # of the kubeconfig's context
        self.kubeconfig = kubeconfig
        self.budget = budget
        self._configuration = configuration
        self._pool = client.ApiClient(configuration).rest_client.pool_manager

    @property
    def address(self) -> str:
        """The API's URL."""
        return str(self._configuration.host).rstrip("/")

    def credentials(self) -> dict[str, str]:
        """The headers that say who asks; a token is read again, or renewed, when it is due. Raises KubeError."""
        try:
            return {entry["key"]: entry["value"].strip() for entry in self._configuration.auth_settings().values()}
        except (ConfigException, OSError) as error:
            raise KubeError(f"The credentials for the Kubernetes API cannot be read: {_short(str(error))}") from None

    def call(self, doing: str, method: str, path: str, *, query: Query | None = None, body: Obj | None = None) -> Obj:
        """The JSON that the API answers. ``doing`` ends the sentence "could not ...". Raises KubeError.

        Tried again within the budget where it fails in passing, so it must be safe to repeat: reads, deletions by uid;
        what is created or replaced goes through `create` and `replace`.
        """

        def step() -> Obj:
            try:
                return self.once(doing, method, path, query=query, body=body)
            except KubeError as error:
                raise _again(error) from None

        return within(self.budget, step)

    def once(self, doing: str, method: str, path: str, *, query: Query | None = None, body: Obj | None = None) -> Obj:
        """As ``call``, but never tried again."""
        try:
            return self._once(doing, method, path, query, body)
        except KubeError as error:
            error.reading = method == "GET"
            raise

    def _once(self, doing: str, method: str, path: str, query: Query | None, body: Obj | None) -> Obj:
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        headers = {**self.credentials(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = STRATEGIC if method == "PATCH" else "application/json"
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self.budget.answer)
        text = None if body is None else json.dumps(body)
        try:
            # The client's own retries neither know a total time nor look before they write again. No redirects: they
            # could carry the token away.
            answer = self._pool.request(
                method, url, headers=headers, body=text, timeout=timeout, retries=False, redirect=False
            )
            if not 200 <= answer.status < 300:
                raise refusal(doing, answer.status, answer.data, str(answer.reason), answer.headers.get("Retry-After"))
            found = json.loads(answer.data)
            if not isinstance(found, dict):
                raise failure(doing, ValueError("what answers there is no Kubernetes API"), self.address)
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            raise failure(doing, error, self.address) from None
        return found

    def create(self, doing: str, collection: str, body: Obj) -> Obj:
        """Make an object in a collection. KubeError 409 if there is another one of its name.

        Where the answer was lost, the object is looked for before it is made again: never two, and never a stranger's
        taken for ours.
        """
        own = f"{collection}/{quote(body['metadata']['name'], safe='')}"
        return self._write(doing, "POST", collection, body, lambda: self._look(own, body, holds))

    def patch(self, doing: str, path: str, body: Obj) -> Obj:
        """Merge what stands in ``body`` into a built-in object, by the merge keys of its lists (strategic merge).

        Tried again within the budget where it fails in passing, so it must change nothing when it is repeated.
        """
        return self.call(doing, "PATCH", path, body=body)

    def replace(self, doing: str, path: str, body: Obj) -> Obj:
        """Write an object back. KubeError 409 if it is no longer at the resourceVersion that ``body`` carries.

        Where the answer was lost, it is looked whether it was written before that is tried again.
        """
        return self._write(doing, "PUT", path, body, lambda: self._look(path, body, _same))

    def _write(self, doing: str, method: str, path: str, body: Obj, look: Look) -> Obj:
        unsure = False  # whether an earlier try may have been done

        def step() -> Obj:
            nonlocal unsure
            try:
                return self.once(doing, method, path, body=body)
            except KubeError as error:
                unsure = unsure or error.unknown
                if unsure and (error.unknown or error.status == CONFLICT):
                    found, error.seen = look()
                    if found is not None:
                        return found
                raise _again(error) from None

        return within(self.budget, step)

    def _look(self, path: str, sent: Obj, same: Callable[[Obj, Obj], bool]) -> tuple[Obj | None, bool]:
        """The object, if it is what was sent; and whether that can be said."""
        try:
            found = self.once("look for it", "GET", path)
        except KubeError as error:
            return None, error.status == NOT_FOUND
        return (found if same(found, sent) else None), True

    def find(
        self, doing: str, method: str, path: str, *, query: Query | None = None, body: Obj | None = None
    ) -> Obj | None:
        """As ``call``; None where there is no such object."""
        try:
            return self.call(doing, method, path, query=query, body=body)
        except KubeError as error:
            if error.status == NOT_FOUND:
                return None
            raise


def _again(error: KubeError) -> Again | KubeError:
    """What to raise for an error: another try, where that may help."""
    return Again(error, error.after) if error.passing else error


OF_THE_SERVER = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "status"}
)
_NOTHING: tuple[Any, ...] = (None, "", 0, False, {}, [])


def holds(found: Any, sent: Any, but: frozenset[str] = frozenset()) -> bool:
    """Whether an object is what was sent: all that was sent is in it, beside what the server and others added.

    ``but``: fields that do not count. What is empty may be missing.
    """
    if found is None:
        return sent in _NOTHING
    match sent:
        case dict():
            return isinstance(found, dict) and all(
                key in but or holds(found.get(key), value, but) for key, value in sent.items()
            )
        case list():
            return isinstance(found, list) and all(any(holds(one, each, but) for one in found) for each in sent)
    return bool(found == sent)


def _same(found: Obj, sent: Obj) -> bool:
    """Whether an object is what was written, and nothing else; what the server sets by itself does not count."""
    return holds(found, sent, OF_THE_SERVER) and holds(sent, found, OF_THE_SERVER)


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
            return _in_cluster(configuration), IN_CLUSTER
        raise WorldError(f"The kubeconfig cannot be used: {_short(str(error))}") from None
    names = [entry["name"] for entry in contexts]
    if context is not None and context not in names:
        raise InputError(f'The kubeconfig has no context "{context}"; it has {", ".join(names) or "none"}')
    try:
        config.load_kube_config(_text(kubeconfig), context, configuration, persist_config=False)
    except Exception as error:  # noqa: BLE001 - the client lets whatever its plugins raise through
        raise WorldError(f"The kubeconfig cannot be used: {_short(str(error))}") from None
    return configuration, context or str(active["name"])


def configure_in_cluster() -> tuple[Any, str]:
    """As the service account of this pod; the client reads its token again every minute. WorldError outside of one."""
    return _in_cluster(client.Configuration()), IN_CLUSTER


def _in_cluster(configuration: Any) -> Any:
    try:
        config.load_incluster_config(configuration)
    except (ConfigException, OSError) as error:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            raise WorldError(f"This pod cannot use its service account: {_short(str(error))}") from None
        raise WorldError(
            "There is no kubeconfig and this is no pod: name a cluster with --context, or use --lab"
        ) from None
    return configuration


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def refusal(doing: str, status: int, body: bytes | str | None, reason: str, after: str | None = None) -> KubeError:
    """One sentence for what the API said: the message of its Status object, with the HTTP status."""
    try:
        said = json.loads(body or "")
        message = str(said["message"]) if isinstance(said, Mapping) else ""
    except (ValueError, KeyError):
        message = ""
    hint = {401: "; are the credentials still valid?", 403: "; the context's user lacks a right"}
    text = f"The Kubernetes API could not {doing}: {_short(message or reason)} ({status}){hint.get(status, '')}"
    return KubeError(text, status, retry_after(after))


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
