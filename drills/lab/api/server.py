"""The lab's API server: an aiohttp application over the Store.

``kubectl`` 1.30 and later and the official Python client are the judges of it. What it does not do: track
field ownership (server-side apply is last-writer-wins and says so in a warning), paginate, attach, forward
ports, speak SPDY, or answer in protobuf.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import structlog
from aiohttp import web

from drills.lab.api import discovery
from drills.lab.api.accounts import Accounts, service_account_user
from drills.lab.api.audit import Audit
from drills.lab.api.authorization import Attributes, Authorizer, User, attributes_of, forbidden
from drills.lab.api.containers import Containers
from drills.lab.api.conversations import Conversations
from drills.lab.api.documents import OPEN_PATHS, document
from drills.lab.api.errors import ApiError, bad_request, method_not_allowed
from drills.lab.api.gc import GarbageCollector
from drills.lab.api.http import MAX_BODY, answer, error_answer, read_document
from drills.lab.api.intake import FieldValidation
from drills.lab.api.objects import Applied, Objects
from drills.lab.api.paths import Target, parse_path
from drills.lab.api.proxy import Proxy
from drills.lab.api.reading import Reader
from drills.lab.api.resources import PODS, SERVICEACCOUNTS, SERVICES, Resource, by_kind
from drills.lab.api.store import Store
from drills.lab.api.streams import Streams
from drills.lab.api.types import Obj, name_of, namespace_of
from drills.lab.api.writing import Writer

log = structlog.get_logger(__name__)

_ANY_METHOD = "GET HEAD POST PUT PATCH DELETE OPTIONS"
_USER: web.RequestKey[User] = web.RequestKey("user", User)

Answer = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


class _Subresource(NamedTuple):
    """Where a subresource is served, for which methods, and by whom."""

    served: Callable[[Resource], bool]
    methods: str
    respond: Answer


class ApiServer:
    """The Kubernetes API of a Store and its containers. ``accounts`` are further tokens and their users; ``audit`` is
    told what service accounts ask for.
    """

    def __init__(
        self,
        store: Store,
        token: str,
        containers: Containers,
        *,
        accounts: Mapping[str, str] | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._store = store
        self._authorizer = Authorizer(store)
        self._audit = audit
        self._accounts = Accounts(token, self._authorizer, accounts)
        self._objects = Objects(store)
        self._conversations = Conversations()
        self._reader = Reader(store, self._conversations)
        self._writer = Writer(store, self._objects)
        self._streams = Streams(store, containers, self._conversations)
        self._proxy = Proxy(store)
        self._collector = GarbageCollector(store)
        self._subresources = {
            "status": _Subresource(lambda r: r.has_status, "GET PUT PATCH", self._writer.status),
            "scale": _Subresource(lambda r: r.has_scale, "GET PUT PATCH", self._writer.scale),
            "ephemeralcontainers": _Subresource(lambda r: r is PODS, "GET PUT PATCH", self._writer.ephemeral),
            "log": _Subresource(lambda r: r is PODS, "GET", self._streams.log),
            "exec": _Subresource(lambda r: r is PODS, "GET POST", self._streams.exec),
            "proxy": _Subresource(lambda r: r in (PODS, SERVICES), _ANY_METHOD, self._proxy.forward),
            "token": _Subresource(lambda r: r is SERVICEACCOUNTS, "POST", self._token),
        }

    def app(self) -> web.Application:
        """The application; one for all sites. Its start-up begins the garbage collection, its shutdown ends all."""
        app = web.Application(middlewares=[_errors, self._authenticate], client_max_size=MAX_BODY)
        app.router.add_route("*", "/api/{version}/{path:.+}", self._api)
        app.router.add_route("*", "/apis/{group}/{version}/{path:.+}", self._api)
        app.router.add_get("/{tail:.*}", document)
        app.cleanup_ctx.append(self._collect)
        app.on_shutdown.append(self._stop)
        return app

    def apply(self, obj: Obj, *, field_validation: FieldValidation) -> Applied:
        """Make or change an object as ``kubectl apply`` does. Raises ApiError, also for a kind that is not served."""
        version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
        r = by_kind(version, kind)
        if r is None:
            text = f'no matches for kind "{kind}" in version "{version}": the lab does not serve it'
            raise ApiError(404, "NotFound", text)
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
            raise bad_request(f"{kind}: metadata.name is missing")
        namespace = (namespace_of(obj) or "default") if r.namespaced else None
        return self._objects.apply(r, namespace, obj, field_validation)

    def issue_token(self, namespace: str, service_account: str) -> str:
        """A token for a service account, as the kubelet mounts it into pods."""
        return self._accounts.issue(service_account_user(namespace, service_account))

    # inside

    async def _collect(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._collector.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _stop(self, _: web.Application) -> None:
        self._conversations.close()

    @web.middleware
    async def _authenticate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path not in OPEN_PATHS:
            request[_USER] = self._accounts.user_of(request.headers.get("Authorization", ""))
        return await handler(request)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if request.method == "POST" and (kind := _review_kind(path)) is not None:
            asked = await read_document(request)
            return answer(self._accounts.review(kind, request[_USER], asked), 201)
        target = parse_path(path)
        self._authorize(request[_USER], attributes_of(request, target))
        if target.subresource:
            return await self._subresource(request, target)
        if request.method in ("GET", "HEAD"):
            return await self._reader.get(request, target)
        if request.method in ("POST", "PUT", "PATCH", "DELETE"):
            return await self._writer.change(request, target)
        raise method_not_allowed("the server does not allow this method on the requested resource")

    def _authorize(self, user: User, asked: Attributes) -> None:
        """Raises ApiError 403. A command by WebSocket is a GET, and needs ``create`` too since Kubernetes 1.35."""
        verbs = ("get", "create") if asked.subresource == "exec" and asked.verb == "get" else (asked.verb,)
        for verb in verbs:
            each = replace(asked, verb=verb)
            allowed = self._authorizer.allows(user, each)
            if self._audit is not None:
                self._audit(user, each, allowed)
            if not allowed:
                raise forbidden(user, each)

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        found = self._subresources.get(target.subresource)
        if found is None or not found.served(target.resource):
            what = f"{target.resource.plural}/{target.subresource}"
            raise ApiError(404, "NotFound", f"the lab does not serve {what}")
        if request.method not in found.methods.split():
            raise method_not_allowed("the server does not allow this method on the requested resource")
        return await found.respond(request, target)

    async def _token(self, request: web.Request, target: Target) -> web.StreamResponse:
        account = self._store.get(SERVICEACCOUNTS, target.namespace, target.name or "")
        asked = await read_document(request)
        return answer(self._accounts.token_request(target.namespace or "", name_of(account), asked), 201)


def _review_kind(path: str) -> str | None:
    """The kind of a review resource; None for any other path."""
    parts = path.strip("/").split("/")
    if parts[0] != "apis" or len(parts) != 4:
        return None
    return dict(discovery.REVIEWS.get((parts[1], parts[2]), ())).get(parts[3])


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every error becomes a metav1.Status; what nobody foresaw is logged and told as 500."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_answer(error)
    except web.HTTPException as error:
        return error_answer(ApiError(error.status, error.reason.replace(" ", ""), error.text or error.reason))
    except ConnectionError:
        raise
    except Exception as error:  # the edge of the server: a client gets an answer, the log the traceback
        log.exception("request failed", method=request.method, path=request.path)
        text = f"Internal error occurred: {type(error).__name__}: {error}"
        return error_answer(ApiError(500, "InternalError", text))


__all__ = ["ApiServer", "Applied"]
