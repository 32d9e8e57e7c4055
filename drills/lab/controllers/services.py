"""Services: an address for each, and the pods that stand behind it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from drills.lab import plan
from drills.lab.api.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Event, Obj, deleting, labels_of, name_of, namespace_of
from drills.lab.controllers import endpoints
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import key_of

FIRST_ADDRESS = 16  # the range below is for fixed addresses, as in Kubernetes


class Services:
    """The controllers of Services, Endpoints and EndpointSlices."""

    resources: tuple[Resource, ...] = (SERVICES, PODS, ENDPOINTS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The Service; those that select a pod, as it is or as it was; that of Endpoints written by hand."""
        if resource != PODS:
            return [key_of(event.obj)]
        carried = [labels_of(pod).items() for pod in (event.obj, event.previous) if pod]
        found = []
        for service in self._store.list(SERVICES, namespace_of(event.obj)):
            selector = (service.get("spec") or {}).get("selector")
            if selector and any(selector.items() <= labels for labels in carried):
                found.append(key_of(service))
        return found

    def reconcile(self, key: Key) -> float | None:
        """Make Endpoints and slices say what is so."""
        service = self._store.find(SERVICES, *key)
        if service is None or deleting(service):
            self._sweep(key, keep=())
            return None
        service = self._with_address(service)
        if (service.get("spec") or {}).get("selector"):
            found = endpoints.backends(service, self._store.list(PODS, key[0]))
            self._put(ENDPOINTS, endpoints.endpoints(service, found))
            wanted = endpoints.slices(service, found)
        else:
            manual = self._store.find(ENDPOINTS, *key)
            by_hand = any(labels_of(item).get(endpoints.MANAGED_BY) is None for item in self._slices(key))
            wanted = endpoints.mirrored(service, manual) if manual and not by_hand else []
        for piece in wanted:
            self._put(ENDPOINTSLICES, piece)
        self._sweep(key, keep=[name_of(piece) for piece in wanted])
        return None

    def _with_address(self, service: Obj) -> Obj:
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName" or spec.get("clusterIP"):
            return service
        address = free_address(self._store.list(SERVICES))
        spec = {**spec, "clusterIP": address, "clusterIPs": [address]}
        return self._store.update(SERVICES, {**service, "spec": spec})

    def _put(self, resource: Resource, wanted: Obj) -> None:
        there = self._store.find(resource, namespace_of(wanted), name_of(wanted))
        if there is None:
            self._store.create(resource, wanted)
        elif {**there, **wanted, "metadata": {**there["metadata"], **wanted["metadata"]}} != there:
            self._store.update(resource, {**there, **wanted, "metadata": {**there["metadata"], **wanted["metadata"]}})

    def _slices(self, key: Key) -> list[Obj]:
        return self._store.list(ENDPOINTSLICES, key[0], {endpoints.SERVICE_NAME: key[1]})

    def _sweep(self, key: Key, keep: Iterable[str]) -> None:
        """Slices of ours that are not wanted any more; with the Service its Endpoints go too."""
        ours = (endpoints.CONTROLLER, endpoints.MIRROR)
        for piece in self._slices(key):
            if labels_of(piece).get(endpoints.MANAGED_BY) in ours and name_of(piece) not in keep:
                self._store.delete(ENDPOINTSLICES, key[0], name_of(piece))
        if self._store.find(SERVICES, *key) is None and self._store.find(ENDPOINTS, *key) is not None:
            self._store.delete(ENDPOINTS, *key)


def free_address(services: Iterable[Obj]) -> str:
    """The first cluster IP that no Service has."""
    used = {(service.get("spec") or {}).get("clusterIP") for service in services}
    used |= {str(plan.KUBERNETES_SERVICE), str(plan.DNS_SERVICE)}
    first = int(plan.SERVICE_CIDR.network_address) + FIRST_ADDRESS
    candidates = (str(IPv4Address(number)) for number in range(first, int(plan.SERVICE_CIDR.broadcast_address)))
    return next(address for address in candidates if address not in used)
