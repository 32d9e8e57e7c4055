"""``report.html``: one file that needs nothing else, for somebody who was not there.

Names, labels and reasons come from a cluster that others can write to. Three walls keep them text: everything that the
template puts out is made printable and escaped by the environment, not by the template's author; the page has no
script; and its content security policy forbids every script, style and address that is not the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from drills.engine.result import Drill, Result
from drills.report import overview, words
from drills.report.changes import Finding, findings
from drills.report.proven import Tone
from drills.report.record import DrillRecord, Record
from drills.report.summary import VERDICT_TONE, DrillSummary, Summary, pace, summarise, target, tone_of
from drills.report.text import clock, offset, plain, span
from drills.report.timeline import Timeline, timeline

MARKS: dict[Tone, str] = {"good": "✓", "bad": "✗", "doubt": "?", "stop": "■", "info": "·"}
_HUMP = re.compile(r"(?<=.)(?=[A-Z][a-z])|(?<=[-_./])(?=.)")
CODE_LIMIT = 5000  # characters of a line of PromQL


@dataclass(frozen=True, slots=True)
class DrillPage:
    """A drill as the template needs it."""

    drill: Drill
    summary: DrillSummary
    record: DrillRecord
    timeline: Timeline | None
    bad: list[Finding]
    doubts: list[Finding]


def page(result: Result, record: Record) -> str:
    """The text of ``report.html``; ``record`` is what could be read of the journal beside the result."""
    notices = list(_notices(result, record))
    record = record if record.run == result.run else Record()
    summary = summarise(result)
    drills = list(_drills(result, record, summary))
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        result=result,
        summary=summary,
        drills=drills,
        headline=overview.headline(result, [one for drill in drills for one in (*drill.bad, *drill.doubts)]),
        side_by_side=overview.chart(result) if len(drills) > 1 else None,
        notices=notices,
        words=words.used(result),
        target=target(result.target),
        pace=pace(result.target.time_lapse),
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
    )


def _drills(result: Result, record: Record, summary: Summary) -> Iterator[DrillPage]:
    alone = len(result.drills) == 1
    for drill, told in zip(result.drills, summary.drills, strict=True):
        own = record.of(drill.name, alone)
        found = findings(drill, own, result.provenance)
        yield DrillPage(
            drill=drill,
            summary=told,
            record=own,
            timeline=timeline(drill, own, result.target.time_lapse),
            bad=[one for one in found if one.tone in ("bad", "stop")],
            doubts=[one for one in found if one.tone not in ("bad", "stop")],
        )


def _notices(result: Result, record: Record) -> Iterator[str]:
    """What a reader must know of the journal before relying on the page."""
    if not record.digest:
        yield "No journal lies beside the result: what happened when is known from the result alone."
    elif record.run != result.run:
        yield "The journal beside the result belongs to another run, and was left out."
    elif result.provenance.journal and record.digest != result.provenance.journal:
        yield "The journal does not have the hash that the run recorded: it was changed afterwards."
    if record.unreadable:
        yield f"{record.unreadable} lines of the journal cannot be read, and were left out."


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("drills.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "moment": _moment,
        "span": span,
        "offset": offset,
        "code": _code,
        "breakable": _breakable,
        "tone": tone_of,
    }
    environment.globals |= {"marks": MARKS, "verdict_tone": VERDICT_TONE}
    return environment.get_template("report.html")


def _style() -> str:
    return resources.files("drills.report").joinpath("templates", "report.css").read_text(encoding="utf-8")


def _printable(value: object) -> object:
    """Every text on its way out: control characters and direction marks become visible; escaping comes after."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(text: str) -> Markup:
    """An expression with its lines kept."""
    return Markup("\n").join(escape(plain(line, CODE_LIMIT)) for line in text.strip().splitlines())


def _breakable(text: str) -> Markup:
    """A name that may break before a capital letter: ``CiliumHTTP|Requests|Denied`` in a narrow column."""
    return Markup("<wbr>").join(escape(part) for part in _HUMP.split(plain(text)))


def _moment(value: datetime | None) -> str:
    return "not known" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
