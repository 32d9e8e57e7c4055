"""One policy as it is checked: what was written, what the API makes of it, what Cilium makes of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from drills.check.world import Manifest
from drills.cilium import policy as api
from drills.cilium.entries import (
    EGRESS,
    INGRESS,
    CompiledRule,
    Direction,
    Entry,
    compile_policy,
    element_entries,
)
from drills.cilium.entries import Element as AnyElement
from drills.cilium.model import NetworkPolicy, Obj, Rule
from drills.cilium.parts import PortDenyRule, PortRule
from drills.cilium.peers import Services
from drills.cilium.sanitize import import_errors
from drills.cilium.selector import Selector, subject_selector
from drills.source import KeyPath

Release = tuple[int, int]
L7_UNTIL_1_19: Final = ("kafka", "l7proto", "l7")
REQUIRES: Final = ("fromRequires", "toRequires")
SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")
Section = Literal["ingress", "ingressDeny", "egress", "egressDeny"]

# What depends on the installation and not on the policy: Cilium's message, and the setting that makes it valid.
AUTH_OFF: Final = "mutual auth feature is disabled"
SETTINGS: Final[Mapping[str, str]] = {
    AUTH_OFF: "authentication.enabled=true (Helm; the default up to Cilium 1.18)",
    "FromNodes/ToNodes rules can only be applied": "nodeSelectorLabels=true (Helm)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the API says of a place in the policy."""

    path: KeyPath
    text: str  # the API's words


@dataclass(frozen=True, slots=True)
class Case:
    """A policy. ``stored`` is what a lenient API keeps of it: None where even that is refused (``rejected`` says why).

    ``unknown`` are fields that strict validation refuses and a lenient API drops. ``refused`` is why Cilium does not
    import what is stored (``kafka``: what it says of Kafka rules, which only earlier releases know); ``depends`` what
    it refuses unless a setting of the installation is on. ``requires``: ``fromRequires`` or ``toRequires``, which are
    not modelled, narrow the peers.
    """

    manifest: Manifest
    kind: str
    unknown: tuple[Problem, ...] = ()
    removed: tuple[Problem, ...] = ()  # known to an earlier release of Cilium
    rejected: tuple[Problem, ...] = ()
    stored: NetworkPolicy | None = None
    refused: tuple[str, ...] = ()
    kafka: tuple[Problem, ...] = ()
    depends: tuple[str, ...] = ()
    requires: bool = False

    @property
    def unimported(self) -> tuple[str, ...]:
        """Why Cilium does not import the stored policy, whatever the settings; nothing where it does."""
        return (*self.refused, *(each.text for each in self.kafka))

    @property
    def effective(self) -> NetworkPolicy | None:
        """The stored policy, where Cilium imports it."""
        return None if self.unimported else self.stored

    @property
    def name(self) -> str:
        """``backend/api``, as Cilium's flows have it."""
        return str(self.manifest).partition(" ")[2]

    def rules(self) -> Iterator[tuple[KeyPath, Rule]]:
        """The stored rules and where they stand."""
        if self.stored is None:
            return
        if self.stored.spec:
            yield ("spec",), self.stored.spec
        for index, rule in enumerate(self.stored.specs or ()):
            yield ("specs", index), rule


@dataclass(frozen=True, slots=True)
class Element:
    """One element of ``ingress``, ``ingressDeny``, ``egress`` or ``egressDeny``, and what it comes to."""

    case: Case
    rule: Rule
    at: KeyPath  # of the rule
    section: Section
    index: int
    model: AnyElement
    entries: tuple[Entry, ...]

    @property
    def path(self) -> KeyPath:
        """Where the element stands."""
        return (*self.at, self.section, self.index)

    @property
    def denies(self) -> bool:
        """Whether it is an element of a deny section."""
        return self.section.endswith("Deny")

    @property
    def direction(self) -> Direction:
        """INGRESS or EGRESS."""
        return INGRESS if self.section.startswith("ingress") else EGRESS

    @property
    def subject(self) -> Selector:
        """Whom the rule is about; nodes are not told apart here."""
        return subject(self.case, self.rule)

    @property
    def default_deny(self) -> bool:
        """Whether the rule brings default deny in this direction."""
        wish = self.rule.enable_default_deny
        asked = None if wish is None else wish.ingress if self.direction == INGRESS else wish.egress
        return asked is not False


def subject(case: Case, rule: Rule) -> Selector:
    """Whom a rule is about: pods of the policy's namespace; everything where it is about nodes."""
    namespace = case.stored.namespace if case.stored else None
    return subject_selector(rule.endpoint_selector, namespace) if rule.endpoint_selector else Selector()


def elements(case: Case, services: Services, *, compiled: bool = True) -> Iterator[Element]:
    """Every element of the policy, with its entries, where Cilium imports it; not ``compiled``: every one that is
    stored, without entries.
    """
    if case.stored is None or (compiled and case.effective is None):
        return
    for at, rule in case.rules():
        if rule.endpoint_selector is None:
            continue
        for section in SECTIONS:
            for index, model in enumerate(section_of(rule, section)):
                found = element_entries(case.stored, rule, model, services) if compiled else ()
                yield Element(case, rule, at, section, index, model, found)


def section_of(rule: Rule, section: Section) -> list[AnyElement]:
    """The elements of a section; none where it is missing."""
    found = {
        "ingress": rule.ingress, "ingressDeny": rule.ingress_deny,
        "egress": rule.egress, "egressDeny": rule.egress_deny,
    }[section]  # fmt: skip
    return list(found or ())


def ports_of(element: Element) -> Sequence[PortRule | PortDenyRule]:
    """The elements of ``toPorts``."""
    return element.model.to_ports or ()


def compiled(case: Case, services: Services) -> tuple[CompiledRule, ...]:
    """What Cilium makes of the policy; nothing where it is refused."""
    return tuple(compile_policy(case.effective, services)) if case.effective else ()


def build(manifest: Manifest, release: Release) -> Case:
    """The case of a policy, as a release of Cilium sees it."""
    written: Obj = dict(manifest.data)
    kind = manifest.kind
    data = _without_requires(written) if release < (1, 19) else written
    fields = [Problem(steps(data, text), f'unknown field "{text}"') for text in api.unknown_fields(kind, data)]
    removed = tuple(each for each in fields if _is_removed(each.path))
    unknown = tuple(each for each in fields if each not in removed and not set(REQUIRES) & set(each.path))
    rejected = tuple(_rejected(kind, data, release, removed))
    try:
        stored = None if rejected else api.parse(data)
    except api.UnreadablePolicyError as error:
        stored, rejected = None, (Problem(("metadata",), str(error).partition(" is invalid: ")[2]),)
    errors = import_errors(stored) if stored else []
    refused = tuple(each for each in errors if not setting(each))
    depends = tuple(each for each in errors if setting(each) and not (release < (1, 19) and each.startswith(AUTH_OFF)))
    kafka = tuple(_kafka(data, removed)) if stored and release < (1, 20) else ()
    return Case(manifest, kind, unknown, removed, rejected, stored, refused, kafka, depends, requires=data != written)


def setting(message: str) -> str | None:
    """The setting of the installation that a message of Cilium's depends on; None where it depends on none."""
    return next((value for start, value in SETTINGS.items() if message.startswith(start)), None)


def _rejected(kind: str, data: Obj, release: Release, removed: tuple[Problem, ...]) -> Iterator[Problem]:
    version = str(data.get("apiVersion"))
    if version not in {"cilium.io/v2"}:
        yield Problem(("apiVersion",), f'no matches for kind "{kind}" in version "{version}"')
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and not (metadata.get("name") or metadata.get("generateName")):
        yield Problem(("metadata",), "metadata.name: Required value: name or generateName is required")
    for error in api.name_errors(kind, data):
        yield Problem(steps(data, error.field), str(error))
    known_then = {each.path[:-1] for each in removed} if release < (1, 20) else set()
    for key in ("name", "namespace", "generateName", "uid"):
        value = metadata.get(key) if isinstance(metadata, dict) else None
        if value is not None and not isinstance(value, str):
            text = f"cannot unmarshal {_json(value)} into Go struct field ObjectMeta.metadata.{key} of type string"
            yield Problem(("metadata", key), text)
    for error in api.schema_errors(kind, data):
        path = steps(data, error.field)
        if not any(path[: len(each)] == each for each in known_then):
            yield Problem(path, str(error))


_KAFKA_ROLES: Final = ("consume", "produce")


def _kafka(data: Obj, removed: Iterable[Problem]) -> Iterator[Problem]:
    """API keys that no release of Cilium knows, in rules for Kafka."""
    for path in (each.path for each in removed if each.path[-1] == "kafka"):
        rules: Any = data
        for step in path:
            rules = rules[step]
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            key = str(rule.get("apiKey") or "") if isinstance(rule, dict) else ""
            if key and (not key.isalpha() or key in _KAFKA_ROLES):
                yield Problem((*path, index, "apiKey"), f'invalid Kafka APIKey :"{key}"')


def _json(value: object) -> str:
    kinds = {bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "value")


def _is_removed(path: KeyPath) -> bool:
    return len(path) > 1 and path[-2] == "rules" and path[-1] in L7_UNTIL_1_19


def _without_requires(data: Obj) -> Obj:
    """Without ``fromRequires`` and ``toRequires``, which this model no longer knows."""
    found = dict(data)
    if "spec" in found:
        found["spec"] = _rule(found["spec"])
    if isinstance(found.get("specs"), list):
        found["specs"] = [_rule(each) for each in found["specs"]]
    return found


def _rule(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    lists = {key: value for key, value in found.items() if key in SECTIONS and isinstance(value, list)}
    return {**found, **{key: [_element(each) for each in value] for key, value in lists.items()}}


def _element(found: Any) -> Any:
    return {key: value for key, value in found.items() if key not in REQUIRES} if isinstance(found, dict) else found


def steps(data: Any, text: str) -> KeyPath:
    """A path as the API writes it (``spec.ingress[0].toPorts``) as steps; keys may have dots in them.

    It ends where the data end; a last part that is not there (a missing field) is kept as a key.
    """
    found: list[str | int] = []
    rest = text
    while rest or not found:
        rest = rest.removeprefix(".")
        if isinstance(data, list):
            number, _, rest = rest[1:].partition("]")
            index = int(number)
            data = data[index]
            found.append(index)
            continue
        key = _key(data, rest)
        data = data.get(key) if isinstance(data, dict) else None
        found.append(key)
        rest = rest[len(key) :]
    return tuple(found)


def _key(data: Any, rest: str) -> str:
    """The longest key of the data that the path goes on with; its first part where there is none."""
    known = [key for key in data if _goes_on(rest, key)] if isinstance(data, dict) else []
    return max(known, key=len) if known else rest.partition(".")[0].partition("[")[0] or rest


def _goes_on(rest: str, key: str) -> bool:
    return bool(key) and rest.startswith(key) and rest[len(key) : len(key) + 1] in {"", ".", "["}
