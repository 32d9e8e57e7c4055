"""What Cilium exports: every metric with its labels, their values, and when its series are born, by version.

The data are the YAML files beside this module, in the format that ``drills check --catalog FILE`` reads, too::

    exporter: agent                  # of all metrics in the file
    metrics:
      shop_orders_total:             # a metric, or a list of its variants by version
        type: counter                # gauge, histogram, summary
        labels:                      # `any`: whatever labels; left out: none
          outcome: [paid, refused]   # all the values there are
          shop: any                  # any value
        born: start                  # with the process, at 0; or first-event: increase() misses that event
        off: shop.metrics=true       # what turns it on, where it is off by default
        range: [0, 1]                # the values of a gauge
        since: "1.19"                # the first version that has this, and the first that has it no more
        until: "1.20"

``unverified`` data are known from documentation only and must not decide that something is an error. 1.18 to 1.20 are
whole; of older versions only what was removed is known, and newer ones are taken to be as the newest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from heapq import nlargest
from pathlib import Path
from typing import Any, Final

from drills.cilium.release import FIRST, LAST, Release, release_of, text_of
from drills.source import Document, KeyPath, load_documents

NEWEST: Final = text_of(LAST)
PREFIXES: Final = ("cilium_", "hubble_")  # a name below them that is not known does not exist
FILES: Final = ("agent", "hubble", "operator", "clustermesh")
_HERE: Final = Path(__file__).parent
_TYPES: Final = ("counter", "gauge", "histogram", "summary")
_KEYS: Final = (
    "type", "labels", "born", "early", "off", "only", "range", "since", "until", "counts", "context", "source",
    "unverified",
)  # fmt: skip
_SUFFIXES: Final = {
    "histogram": {"_bucket": ("le",), "_sum": (), "_count": ()},
    "summary": {"": ("quantile",), "_sum": (), "_count": ()},
}
_SAME_WORD: Final = 0.9  # of SequenceMatcher: a letter too many or too few
_SAME_PREFIX: Final = 0.25  # of the words that two names share: a name of the other exporter needs more of them
_PER_NODE: Final = ("agent", "hubble")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one version. ``labels`` is None where they are not known; a label without values may have any."""

    name: str
    type: str
    exporter: str
    labels: Mapping[str, tuple[str, ...]] | None
    born: str = ""  # start, first-event, or empty: not known
    early: bool = False  # the first event comes soon after the start, in practice
    off: str = ""
    only: str = ""  # the feature without which it is not there
    range: tuple[float, float] | None = None
    counts: str = ""  # drops, requests: what somebody's traffic causes, on whichever node
    context: bool = False  # takes the labels of Hubble's context options
    source: str = ""
    unverified: bool = False

    @property
    def per_node(self) -> bool:
        """Whether every node exports series of its own."""
        return self.exporter in _PER_NODE


@dataclass(frozen=True, slots=True)
class Series:
    """What a name in PromQL stands for: a metric, or a part of a histogram or summary."""

    metric: Metric
    type: str  # counter or gauge
    extra: tuple[str, ...] = ()  # le, quantile


@dataclass(frozen=True, slots=True)
class Removed:
    """A metric that a version does not have any more."""

    name: str
    removed: str
    instead: str = ""
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The metrics of one version of Cilium, and those that a user added."""

    version: str
    series: Mapping[str, Series]
    families: Mapping[str, Metric] = field(default_factory=dict)
    removed: Mapping[str, Removed] = field(default_factory=dict)
    never: Mapping[str, str] = field(default_factory=dict)  # names that never existed: what is meant
    partial: tuple[str, ...] = ()
    context: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether everything of this version is known, so that what is not known does not exist."""
        return FIRST <= release_of(self.version) <= LAST

    def find(self, name: str) -> Series | None:
        """What a name stands for in this version; None if it is not known."""
        return self.series.get(name)

    def covers(self, name: str) -> bool:
        """Whether the catalogue speaks of names like this one."""
        return name.startswith(PREFIXES)

    def certain(self, name: str) -> bool:
        """Whether a name that is not known does not exist for sure."""
        return self.whole and not name.startswith(self.partial)

    def nearest(self, name: str) -> str:
        """The known metric that looks most like this one: shared words count more than the spelling."""
        alike = [each for each in self.families if abs(len(each) - len(name)) <= 4]
        spelt = get_close_matches(name, alike, n=1, cutoff=_SAME_WORD)
        if spelt:
            return spelt[0]
        known = {word for each in self.families for word in _words(each)}
        words = frozenset(_meant(word, known) for word in _words(name))
        close = nlargest(8, self.families, key=lambda each: (_shared(words, name, each), each))
        return max(close, key=lambda each: (_likeness(words, name, each), each), default="")

    def label_names(self) -> frozenset[str]:
        """Every label of any metric."""
        return frozenset(label for metric in self.families.values() for label in metric.labels or ())


@lru_cache(maxsize=16)
def of_version(version: str) -> Catalogue:
    """The catalogue of a minor version such as ``1.20``. ValueError for what is no version."""
    families: dict[str, Metric] = {}
    for name in FILES:
        (document,) = load_documents(_HERE / f"{name}.yaml")
        families |= {each.name: each for each in metrics_of(document, version)}
    (absent,) = load_documents(_HERE / "absent.yaml")
    at = release_of(version)
    known = {name: Removed(name, **entry) for name, entry in absent.data["removed"].items()}
    removed = {name: each for name, each in known.items() if release_of(each.removed) <= at}
    for name in known.keys() - removed.keys() - families.keys():  # it was there then, and nothing more is known of it
        families[name] = Metric(name, "", "agent", None, unverified=True)
    for name in removed:
        families.pop(name, None)
    return Catalogue(
        version=version,
        series=_series(families.values()),
        families=families,
        removed=removed,
        never=absent.data["never"],
        partial=tuple(absent.data["partial"]),
        context=frozenset(absent.data["context"]),
    )


def extended(catalogue: Catalogue, file: Path) -> Catalogue:
    """A catalogue with the metrics of a user's file added; theirs win.

    :raises InputError: (also as SourceError, with the place) where the file cannot be read or is not in the format.
    """
    families = dict(catalogue.families)
    for document in load_documents(file):
        families |= {each.name: each for each in metrics_of(document, catalogue.version)}
    return Catalogue(
        catalogue.version, _series(families.values()), families, catalogue.removed, catalogue.never, catalogue.partial,
        catalogue.context,
    )  # fmt: skip


def metrics_of(document: Document, version: str) -> Iterator[Metric]:
    """The metrics that a file has for a version; SourceError where it is not in the format."""
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("metrics"), dict):
        raise document.error((), "a catalogue is a mapping with the key metrics")
    for name, entry in data["metrics"].items():
        several = isinstance(entry, list)
        for index, variant in enumerate(entry if several else [entry]):
            path: KeyPath = ("metrics", name, index) if several else ("metrics", name)
            metric = _metric(document, path, name, variant)
            if _holds(document, path, variant, release_of(version)):
                yield metric


def _metric(document: Document, path: KeyPath, name: str, entry: Any) -> Metric:
    if not isinstance(entry, dict):
        raise document.error(path, f"{name} must be a mapping with the key type")
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise document.error((*path, unknown[0]), f'unknown key "{unknown[0]}"; known: {", ".join(_KEYS)}')
    if entry.get("type") not in _TYPES:
        raise document.error((*path, "type"), f"{name} needs a type: {', '.join(_TYPES)}")
    born = entry.get("born", "")
    if born not in ("", "start", "first-event"):
        raise document.error((*path, "born"), "born is start or first-event")
    head = document.data
    return Metric(
        name=name,
        type=entry["type"],
        exporter=str(head.get("exporter", "")),
        labels=_labels(document, (*path, "labels"), entry.get("labels", {})),
        born=born,
        early=entry.get("early") is True,
        off=str(entry.get("off", "")),
        only=str(entry.get("only", "")),
        range=_range(document, (*path, "range"), entry.get("range")),
        counts=str(entry.get("counts", "")),
        context=entry.get("context") is True,
        source=str(entry.get("source", head.get("source", ""))),
        unverified=(entry.get("unverified", head.get("unverified")) is True),
    )


def _labels(document: Document, path: KeyPath, labels: Any) -> Mapping[str, tuple[str, ...]] | None:
    if labels == "any":
        return None
    if not isinstance(labels, dict):
        raise document.error(path, "labels must be a mapping of names to lists of values, or any")
    made: dict[str, tuple[str, ...]] = {}
    for label, values in labels.items():
        if values == "any":
            made[label] = ()
        elif isinstance(values, list) and all(isinstance(each, str) for each in values):
            made[label] = tuple(values)
        else:
            raise document.error((*path, label), f"the values of {label} must be a list of texts, or any")
    return made


def _range(document: Document, path: KeyPath, found: Any) -> tuple[float, float] | None:
    if found is None:
        return None
    if isinstance(found, list) and len(found) == 2 and all(type(each) in (int, float) for each in found):
        return float(found[0]), float(found[1])
    raise document.error(path, "range must be a list of two numbers")


def _holds(document: Document, path: KeyPath, entry: Mapping[str, Any], version: Release) -> bool:
    newest = min(version, LAST)
    since, until = (
        _release(document, (*path, key), entry[key]) if key in entry else None for key in ("since", "until")
    )
    return (since is None or newest >= since) and (until is None or newest < until)


def _release(document: Document, path: KeyPath, found: Any) -> Release:
    if not isinstance(found, str):
        raise document.error(path, f'{path[-1]} must be a text such as "1.19" (in quotes)')
    try:
        return release_of(found)
    except ValueError as error:
        raise document.error(path, f"{path[-1]}: {error}") from None


def _series(metrics: Any) -> dict[str, Series]:
    made: dict[str, Series] = {}
    for metric in metrics:
        for suffix, extra in _SUFFIXES.get(metric.type, {"": ()}).items():
            kind = "counter" if suffix in ("_bucket", "_sum", "_count") else metric.type
            made[metric.name + suffix] = Series(metric, kind, tuple(extra))
        if metric.type in ("counter", "histogram"):
            made[metric.name.removesuffix("_total") + "_created"] = Series(metric, "gauge")
    return made


def _likeness(words: frozenset[str], name: str, known: str) -> float:
    return _shared(words, name, known) + SequenceMatcher(None, name, known).ratio()


def _shared(words: frozenset[str], name: str, known: str) -> float:
    theirs = frozenset(_words(known))
    same_prefix = name.partition("_")[0] == known.partition("_")[0]
    return len(words & theirs) / max(1, len(words | theirs)) + _SAME_PREFIX * same_prefix


def _meant(word: str, known: Set[str]) -> str:
    """The word that somebody misspelt by a letter."""
    return word if word in known else next(iter(get_close_matches(word, sorted(known), n=1, cutoff=0.85)), word)


@lru_cache(maxsize=4096)
def _words(name: str) -> Sequence[str]:
    return [word.rstrip("s") for word in name.split("_")[1:]]
