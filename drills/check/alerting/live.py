"""A running Prometheus in the catalogue's place: whether it has the series that a rule selects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from alerts.catalog import Catalogue
from alerts.prometheus import Prometheus
from alerts.promql import Selector
from drills.check.alerting import known
from drills.check.alerting.occurrences import Occurrence
from drills.check.finding import Finding, Level


class Server:
    """What a server has now; each question is asked once."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._counts: dict[str, int] = {}
        self.names = prometheus.metric_names()

    def count(self, selector: Selector) -> int:
        """How many series a selector finds."""
        text = str(selector)
        if text not in self._counts:
            samples = self._prometheus.query(f"count({text})")
            self._counts[text] = int(samples[0].value) if samples else 0
        return self._counts[text]


def check(found: Sequence[Occurrence], catalogue: Catalogue, recorded: Set[str], url: str) -> Iterator[Finding]:
    """As `known.check`, where the server does not show that a selector finds series.

    A series that is not there now may be born by its first event, so the server alone makes no error.

    :raises WorldError: where the server cannot be asked.
    """
    server = Server(Prometheus(url))
    told: set[str] = set()
    for each in found:
        if each.metric in recorded or known.built_in(each.metric) or server.count(each.selector):
            continue
        own = [finding for finding in known.check([each], catalogue, recorded) if _counts(finding, each, server)]
        if own:
            yield from own
        elif (text := str(each.selector)) not in told:
            told.add(text)
            yield _missing(each, text, server)


def _counts(finding: Finding, each: Occurrence, server: Server) -> bool:
    """Whether what the catalogue says holds beside what the server has."""
    nameless = finding.rule in (known.UNKNOWN.name, known.REMOVED.name)
    return finding.level is not Level.NOTE and not (nameless and each.metric in server.names)


def _missing(each: Occurrence, text: str, server: Server) -> Finding:
    name = each.metric
    place = each.rule.at(each.offset, name) if name else each.rule.at(*each.rule.first_word)
    if name and name not in server.names:
        message = f"the Prometheus that was asked has no metric {name}"
        span = len(name)
    else:
        matchers = each.selector.matchers
        at_fault = [str(one) for one in matchers if not server.count(Selector(each.selector.metric, (one,)))]
        message = f"the Prometheus that was asked has no series {text}"
        message += f": none has {' or '.join(at_fault)}" if at_fault else ""
        span = max(1, len(name))
    effect = f"As things are now: {known.empty(each, text)}"
    fix = "Look whether the series is born by its first event; else mend the name or the matcher."
    return known.FOREIGN.at(place, message, effect=effect, fix=fix, level=Level.WARNING, span=span)
