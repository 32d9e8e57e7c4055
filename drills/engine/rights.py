"""Which rights a playbook needs: those of its run, of planning it, and of undoing what an interrupted run left.

Pure. Every call of the engine has its rights beside it in `drills.kube.rights`; here stands who makes which, for
which source and target. A test runs the shipped playbooks with these rights and no others, and finds each of them used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from drills.engine.feasible import Tried, everything_tried
from drills.engine.publications import Where, result_map
from drills.inject import flood
from drills.inject.kinds import kind_of
from drills.kube import rights as needs
from drills.kube.lease import NAMESPACE
from drills.kube.proxy import PREFIX, ServiceAddress
from drills.kube.rights import Right, least
from drills.playbook import Drill, ExistingPod, FloodInjection, Playbook, WireguardInjection
from drills.playbook.model import From


def needed(
    playbook: Playbook,
    drills: Sequence[Drill] | None = None,
    addresses: Sequence[str] = (),
    publish: Sequence[Where] = (),
    alertmanager: str | None = None,
) -> list[Right]:
    """Every right of a playbook, or of some of its drills, with the reason; none that another one includes.

    ``addresses``: of Prometheus and Alertmanager, which may be Services behind the API server's proxy;
    ``alertmanager``: the one of them where silences are laid. ``publish``: where the results go.
    """
    chosen = playbook.drills if drills is None else drills
    watched = [one for address in addresses for one in _of_address(address, needs.service_proxy)]
    if alertmanager is not None and any(drill.silenced for drill in chosen):
        watched += _of_address(alertmanager, needs.silences)
    told = [one for where in publish for one in _of_publication(playbook, where)]
    return least([*_of_any_run(), *watched, *told, *(one for drill in chosen for one in _of_drill(playbook, drill))])


def _of_address(address: str, rights: Callable[[str, str], Iterator[Right]]) -> Iterator[Right]:
    """Of ``service:NAMESPACE/[https:]NAME:PORT[/PATH]``; an ordinary URL asks the API for nothing."""
    if address.startswith(PREFIX):
        service = ServiceAddress.parse(address)
        yield from rights(service.namespace, service.name)


def _of_publication(playbook: Playbook, where: Where) -> Iterator[Right]:
    if where.kind == "events":
        for namespace in acted_in(playbook):
            yield from needs.events(namespace)
    if where.kind == "configmap":
        yield from needs.written_config_map(NAMESPACE, result_map(playbook.name))


def acted_in(playbook: Playbook) -> tuple[str, ...]:
    """The namespaces that a playbook acts in: the guards' where it has them, else its sources'."""
    named = playbook.guards.namespaces
    if named is not None:
        return tuple(named)
    sources = [*playbook.spec.sources, *sources_of(playbook.drills)]
    return tuple(sorted({playbook.source_of(each).namespace for each in sources}))


def _of_any_run() -> Iterator[Right]:
    yield from needs.clock()
    yield from needs.cluster_uid()
    yield from needs.lease()
    yield from needs.undo_records()
    yield from needs.policies()
    yield from needs.alert_rules()
    yield from needs.agents()
    yield from needs.nodes()


def _of_drill(playbook: Playbook, drill: Drill) -> Iterator[Right]:
    for tried in everything_tried(drill):
        if isinstance(tried, WireguardInjection):
            yield from _of_fault(tried, captures=drill.captures)
        else:
            yield from _of_source(playbook, tried.source)
            yield from _of_target(tried, attacked=tried is not drill.control)


def service_tried(tried: Tried) -> tuple[str, str] | None:
    """Namespace and name of the Service that is tried; None for names outside, and for faults."""
    match tried:
        case WireguardInjection():
            return None
        case FloodInjection():
            return flood.service(tried)
    return kind_of(tried).service


def sources_of(drills: Iterable[Drill]) -> Iterator[From]:
    """Who acts, as often as it is named."""
    for drill in drills:
        for tried in everything_tried(drill):
            if not isinstance(tried, WireguardInjection):
                yield tried.source


def _of_source(playbook: Playbook, given: From) -> Iterator[Right]:
    source = playbook.source_of(given)
    if isinstance(source, ExistingPod):
        yield from needs.existing_pod(source.namespace, source.name)
        if source.ephemeral:
            yield from needs.ephemeral_container(source.namespace, source.name)
        return
    yield from needs.drill_pod(source.namespace)
    yield from needs.twins(source.namespace)
    yield from needs.services(source.namespace)


def _of_target(tried: Tried, *, attacked: bool) -> Iterator[Right]:
    if (named := service_tried(tried)) is not None:
        yield from needs.service(*named)
        if attacked:
            yield from needs.target_pods(named[0])
            yield needs.endpoint(named[0], None, "see that a policy guards the target's pods")
    if not isinstance(tried, FloodInjection | WireguardInjection) and (key := kind_of(tried).secret) is not None:
        namespace, _, name = key.secret.partition("/")
        yield from needs.secret_value(namespace, name)


def _of_fault(fault: WireguardInjection, *, captures: bool) -> Iterator[Right]:
    yield from needs.cilium_nodes()
    if captures:
        yield from needs.capture_pods()
    match fault.fault:
        case "key-replaced" | "key-removed":
            yield from needs.cilium_node_key(fault.node)
        case "key-file-deleted" | "device-deleted":
            yield from needs.agent_restart()
        case "secret-deleted" if fault.secret is not None:
            namespace, _, name = fault.secret.partition("/")
            yield from needs.secret_deletion(namespace, name)
