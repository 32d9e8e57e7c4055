"""What every drill would meet, as findings at the playbook's drill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from drills.check.finding import Finding
from drills.check.predict import rules as documented
from drills.check.predict.blame import allowed_by
from drills.check.predict.cluster import Cluster, Service, Workload
from drills.check.predict.outcome import Met, Prediction, predict
from drills.check.world import LoadedPlaybook, World
from drills.engine.feasible import target_outside_guards
from drills.inject.base import service_of
from drills.inject.http import DENIED_BODY
from drills.inject.kinds import kind_of
from drills.playbook import (
    Denied,
    DnsInjection,
    Drill,
    ExistingPod,
    FloodInjection,
    HttpInjection,
    ProbeInjection,
    Source,
    WireguardInjection,
)
from drills.playbook.model import From
from drills.source import KeyPath

_ALIKE: Final = 0.65  # of label values: nearer, and it is a misspelling


def predictions(world: World, cluster: Cluster) -> Iterator[Finding]:
    """Everything about playbooks that policies and workloads tell."""
    for loaded in world.playbooks:
        yield from _sources(loaded, cluster)
        for number, drill in enumerate(loaded.playbook.drills):
            yield from _of_drill(loaded, number, drill, cluster)


def _of_drill(loaded: LoadedPlaybook, number: int, drill: Drill, cluster: Cluster) -> Iterator[Finding]:
    path: KeyPath = ("spec", "drills", number)
    outside = target_outside_guards(drill, loaded.playbook)
    if outside is not None:
        text = f"the drill {drill.name} {outside.rstrip('.')}"
        yield documented.OUTSIDE_GUARDS.at(loaded.document.place_of((*path, "name")), text, span=len(drill.name))
    for where, attack, denied in _attacks(drill, path):
        yield from _missing(loaded, where, attack, cluster)
        if not isinstance(attack, FloodInjection) and denied is not None:
            yield from _attack(loaded, where, drill, attack, denied, cluster)
    control = drill.control
    if control is not None:
        where = (*path, "control", control.kind)
        yield from _missing(loaded, where, control, cluster)
        yield from _control(loaded, where, drill, control, cluster)


def _attacks(
    drill: Drill, path: KeyPath
) -> Iterator[tuple[KeyPath, ProbeInjection | FloodInjection, Sequence[Denied] | None]]:
    if not isinstance(drill.injection, WireguardInjection):
        yield (*path, "inject", drill.injection.kind), drill.injection, drill.expect.denied
    for index, under in enumerate(drill.expect.during):
        yield (*path, "expect", "during", index, under.injection.kind), under.injection, under.denied


def _attack(
    loaded: LoadedPlaybook,
    path: KeyPath,
    drill: Drill,
    attack: ProbeInjection,
    denied: Sequence[Denied],
    cluster: Cluster,
) -> Iterator[Finding]:
    found = predict(attack, loaded.playbook, cluster)
    place = loaded.document.place_of((*path, _target_key(attack)))
    span = len(_target(attack))
    for each in found:
        if _gets_through(attack, each, denied):
            text, effect = _breach(drill, attack, each, cluster)
            yield documented.BREACHED.at(place, text, effect=effect, span=span)
            return
    for each in found:
        other = _denied_otherwise(each, denied)
        if other is not None:
            text = f"in the drill {drill.name}, {_target(attack)} is denied in another way than expected: {other}"
            yield documented.DENIED_OTHERWISE.at(place, f"{text}{_by(each)}", span=span)
            return


def _gets_through(attack: ProbeInjection, found: Prediction, denied: Sequence[Denied]) -> bool:
    """Whether the policies let pass what the drill says is denied."""
    if found.met is Met.ANSWERED:
        return True
    if found.met is Met.HTTP_403:  # an answer; a leak unless it is the one that is expected
        own = [each for each in denied if each.status == 403 and each.body in (None, DENIED_BODY)]
        return bool(denied) and not own
    answered = isinstance(attack, DnsInjection) and found.looked_up
    return answered and bool(denied) and all(each.dns is not None for each in denied)


def _denied_otherwise(found: Prediction, denied: Sequence[Denied]) -> str | None:
    """How it is denied, where nothing that is expected fits; None where it fits or nothing is known."""
    match found.met:
        case Met.SILENCE if denied and all(each.connect != "timeout" for each in denied):
            return "packets are dropped, so the connection times out (`connect: timeout`)"
        case Met.DNS_REFUSED if denied and all(each.dns is None for each in denied):
            return "the lookup is refused (`dns: refused`)"
        case Met.NO_LOOKUP:
            return "the source cannot even look the name up"
        case _:
            return None


def _breach(drill: Drill, attack: ProbeInjection, found: Prediction, cluster: Cluster) -> tuple[str, str]:
    who = allowed_by(found, cluster)
    text = f"the drill {drill.name} would be breached: {_target(attack)} is not denied, {who}"
    if found.met is Met.HTTP_403:
        met = "is answered by the proxy, which accepts the connection"
    elif found.met is not Met.ANSWERED:
        met = "has its lookup answered"
    elif found.workload is not None and found.flow is not None:
        met = f"reaches port {found.flow.port} of {found.workload.title}"
    else:
        met = "gets out"
    return text, f"Every attempt {met}; `drills run` says breached."


def _control(
    loaded: LoadedPlaybook, path: KeyPath, drill: Drill, control: ProbeInjection, cluster: Cluster
) -> Iterator[Finding]:
    place = loaded.document.place_of((*path, _target_key(control)))
    for each in predict(control, loaded.playbook, cluster):
        how = _FAILED.get(each.met)
        if how is not None:
            text = f"the control of the drill {drill.name} would fail: {_target(control)} {how}{_by(each)}"
            yield documented.CONTROL_FAILS.at(place, text, span=len(_target(control)))
            return


_FAILED: Final = {
    Met.HTTP_403: "is answered with 403",
    Met.SILENCE: "times out",
    Met.DNS_REFUSED: "is refused at the lookup",
    Met.NO_LOOKUP: "cannot even be looked up",
}


def _by(found: Prediction) -> str:
    named = ", ".join(str(each) for each in found.by if each.kind)
    side = {"INGRESS": "the target's", "EGRESS": "the source's"}.get(found.direction or "", "the")
    if not named:
        return ""
    if found.met in (Met.HTTP_403, Met.DNS_REFUSED):
        return f", because no rule of {named} allows it"
    return f", by {side} {'deny rule' if found.rule else 'default deny'} ({named})"


def _missing(
    loaded: LoadedPlaybook, path: KeyPath, target: ProbeInjection | FloodInjection, cluster: Cluster
) -> Iterator[Finding]:
    host, port = _host_and_port(target)
    named = None if isinstance(target, DnsInjection) else service_of(host)
    if named is None or not cluster.knows(named[0]):
        return
    place = loaded.document.place_of((*path, _target_key(target)))
    service = cluster.services.get(named)
    if service is None:
        here = sorted(name for namespace, name in cluster.services if namespace == named[0])
        text = f"there is no Service {named[1]} in {named[0]}; there are {', '.join(here) or 'none'}"
    elif service.external:
        return
    elif service.behind(port) is not None:
        yield from _on_node(loaded, path, target, cluster.pods_of(service))
        nobody = _nobody_behind(service, cluster)
        if nobody is None:
            return
        text = nobody
    else:
        ports = ", ".join(str(each) for each in service.ports) or "none"
        text = f"Service {named[0]}/{named[1]} has no TCP port {port}; it has {ports}"
    yield documented.TARGET_MISSING.at(place, text, span=len(_target(target)))


def _nobody_behind(service: Service, cluster: Cluster) -> str | None:
    """That no pod is behind a Service, where the workloads of its namespace are given."""
    if not service.selector or all(each.namespace != service.namespace for each in cluster.workloads):
        return None
    found = cluster.pods_of(service)
    if not found:
        wanted = ", ".join(f"{key}={value}" for key, value in service.selector.items())
        return f"Service {service.namespace}/{service.name} selects {wanted}, and no given workload has such pods"
    if all(each.replicas == 0 for each in found):
        return f"no pod is behind Service {service.namespace}/{service.name}: {found[0].title} has 0 replicas"
    return None


def _on_node(
    loaded: LoadedPlaybook, path: KeyPath, target: ProbeInjection | FloodInjection, pods: Sequence[Workload]
) -> Iterator[Finding]:
    """Pods on their node's network behind a target: no policy for pods is about them."""
    for each in (pod for pod in pods if pod.host_network):
        place = loaded.document.place_of((*path, _target_key(target)))
        text = f"the pods of {each.title} are on their node's network, where policies for pods do not apply"
        yield documented.TARGET_ON_NODE.at(place, text, span=len(_target(target)))


def _host_and_port(target: ProbeInjection | FloodInjection) -> tuple[str, int]:
    if isinstance(target, FloodInjection):
        as_http = HttpInjection.model_construct(source=target.source, url=target.url, rate=1.0, duration=1.0)
        return as_http.host, as_http.port
    return kind_of(target).host, kind_of(target).port


def _target_key(target: ProbeInjection | FloodInjection) -> str:
    if isinstance(target, HttpInjection | FloodInjection):
        return "url"
    return "name" if isinstance(target, DnsInjection) else "host"


def _target(target: ProbeInjection | FloodInjection) -> str:
    return str(getattr(target, _target_key(target)))


def _sources(loaded: LoadedPlaybook, cluster: Cluster) -> Iterator[Finding]:
    authorised = {id(source) for source in _used_by_controls(loaded)}
    for path, source in _all_sources(loaded):
        if isinstance(source, ExistingPod) or not cluster.knows(source.namespace):
            continue
        text = _unlike(source, cluster, authorised=id(source) in authorised)
        if text is not None:
            yield documented.SOURCE_UNLIKE.at(loaded.document.place_of((*path, "labels")), text)


def _used_by_controls(loaded: LoadedPlaybook) -> Iterator[Source | ExistingPod]:
    for drill in loaded.playbook.drills:
        if drill.control is not None:
            yield loaded.playbook.source_of(drill.control.source)


def _all_sources(loaded: LoadedPlaybook) -> Iterator[tuple[KeyPath, Source | ExistingPod]]:
    for name, source in loaded.playbook.spec.sources.items():
        yield ("spec", "sources", name), source
    for number, drill in enumerate(loaded.playbook.drills):
        path: KeyPath = ("spec", "drills", number)
        given: list[tuple[KeyPath, From]] = [(where, each.source) for where, each, _ in _attacks(drill, path)]
        if drill.control is not None:
            given.append(((*path, "control", drill.control.kind), drill.control.source))
        for where, inline in given:
            if not isinstance(inline, str):
                yield (*where, "from"), inline


def _unlike(source: Source, cluster: Cluster, *, authorised: bool) -> str | None:
    """How a source is unlike the workload that it seems to stand for; None where it is alike, or stands for none."""
    own = cluster.identity(source.labels, source.namespace, source.service_account)
    like = [each for each in cluster.like(source.namespace, source.labels) if not each.host_network]
    identities = [cluster.identity(each.labels, each.namespace, each.account) for each in like]
    if own in identities:
        return None
    if like:
        lacking = sorted(
            f"{key.partition(':')[2]}={value}" for key, value in identities[0].items() if own.get(key) != value
        )
        return f"the source is not what {like[0].title} is: its pods have {', '.join(lacking)}"
    written = ", ".join(f"{key}={value}" for key, value in source.labels.items()) or "no labels"
    near = _nearest(source, cluster)
    if near is not None:
        return f"no workload in {source.namespace} has {written}; did you mean {near}?"
    return f"no workload in {source.namespace} has {written}, and a control acts as it" if authorised else None


def _nearest(source: Source, cluster: Cluster) -> str | None:
    for each in cluster.workloads:
        if each.namespace != source.namespace or not source.labels.keys() <= each.labels.keys():
            continue
        pairs = [(value, each.labels[key]) for key, value in source.labels.items()]
        if pairs and all(SequenceMatcher(None, one, other).ratio() >= _ALIKE for one, other in pairs):
            return ", ".join(f"{key}={each.labels[key]}" for key in source.labels)
    return None
