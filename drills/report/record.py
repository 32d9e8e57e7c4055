"""The journal as a report needs it: what happened when, drill by drill.

A journal may be cut off by a crash, come from an older version, or be no journal at all: what cannot be read is
counted and left out, and a report is made of what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from drills.engine.events import Role

JOURNAL = "journal.jsonl"
LONGEST = 100_000  # steps of a series: more is no journal of ours


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    at: AwareDatetime
    drill: str | None = None


class Run(_Line):
    """A run begins."""

    event: Literal["run"]
    run: str


class Plan(_Line):
    """What a drill tries, in words."""

    event: Literal["plan"]
    attack: str = ""
    control: str = ""
    expected: str = ""


class Phase(_Line):
    """A drill enters a phase."""

    event: Literal["phase"]
    phase: str
    detail: str = ""


class Outcomes(BaseModel):
    """How often an outcome came, in each step."""

    model_config = ConfigDict(frozen=True)
    kind: str
    counts: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=LONGEST)]


class Series(_Line):
    """Attempts over time; ``step`` in wall seconds."""

    event: Literal["series"]
    role: Role
    began: AwareDatetime
    step: Annotated[float, Field(gt=0)]
    outcomes: dict[str, Outcomes]

    @property
    def length(self) -> int:
        """How many steps it has."""
        return max((len(one.counts) for one in self.outcomes.values()), default=0)


class Stage(_Line):
    """An alert was seen in another stage of its life: the poll's time, which is a hint only."""

    event: Literal["alert"]
    alert: str
    stage: str


class Note(_Line):
    """A remark of the engine."""

    event: Literal["note"]
    text: str


class Change(_Line):
    """A change is about to be made."""

    event: Literal["change"]
    what: str


class Undone(_Line):
    """A change was undone, and that was verified."""

    event: Literal["undone"]
    what: str


class Other(_Line):
    """A line that the report does not need."""

    event: str


Line = Run | Plan | Phase | Series | Stage | Note | Change | Undone
_EVENTS = frozenset({"run", "plan", "phase", "series", "alert", "note", "change", "undone"})
L = TypeVar("L", bound=Line)


def _tag(value: object) -> str:
    event = value.get("event") if isinstance(value, dict) else None
    return str(event) if event in _EVENTS else "other"


_LINE: TypeAdapter[Line | Other] = TypeAdapter(
    Annotated[
        Annotated[Run, Tag("run")]
        | Annotated[Plan, Tag("plan")]
        | Annotated[Phase, Tag("phase")]
        | Annotated[Series, Tag("series")]
        | Annotated[Stage, Tag("alert")]
        | Annotated[Note, Tag("note")]
        | Annotated[Change, Tag("change")]
        | Annotated[Undone, Tag("undone")]
        | Annotated[Other, Tag("other")],
        Discriminator(_tag),
    ]
)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A change, from before it was made to after its undo was verified."""

    what: str
    made: datetime
    undone: datetime | None


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """What the journal says of one drill."""

    plan: Plan | None = None
    phases: Sequence[Phase] = ()
    series: Mapping[Role, Series] = field(default_factory=dict)
    stages: Mapping[str, Sequence[Stage]] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    changes: Sequence[Lifetime] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A whole journal. ``digest`` is the SHA-256 of the file, "" where there is none."""

    run: str | None = None
    lines: Sequence[Line] = ()
    unreadable: int = 0
    digest: str = ""

    def of(self, drill: str, alone: bool = False) -> DrillRecord:
        """The lines of one drill; those that name none belong to it where it is ``alone`` in its run."""
        lines = [one for one in self.lines if one.drill == drill or (alone and one.drill is None)]
        stages: dict[str, list[Stage]] = {}
        for one in _only(lines, Stage):
            stages.setdefault(one.alert, []).append(one)
        return DrillRecord(
            plan=next(_only(lines, Plan), None),
            phases=tuple(_only(lines, Phase)),
            series={one.role: one for one in _only(lines, Series)},
            stages=stages,
            notes=tuple(_only(lines, Note)),
            changes=tuple(_lifetimes(lines)),
        )


def read(path: Path) -> Record:
    """The journal in a directory, or at ``path``; an empty record where there is none or it cannot be read."""
    path = path / JOURNAL if path.is_dir() else path
    try:
        data = path.read_bytes()
    except OSError:
        return Record()
    return replace(parse(data.splitlines()), digest=hashlib.sha256(data).hexdigest())


def parse(lines: Iterable[bytes]) -> Record:
    """The lines of a journal, one JSON object each."""
    found: list[Line] = []
    unreadable = 0
    for line in lines:
        try:
            one = _LINE.validate_json(line)
        except ValidationError:
            unreadable += 1
            continue
        if not isinstance(one, Other):
            found.append(one)
    run = next(_only(found, Run), None)
    return Record(run=run.run if run else None, lines=tuple(found), unreadable=unreadable)


def _only(lines: Iterable[Line], kind: type[L]) -> Iterator[L]:
    return (one for one in lines if isinstance(one, kind))


def _lifetimes(lines: Iterable[Line]) -> list[Lifetime]:
    found: list[Lifetime] = []
    for one in lines:
        if isinstance(one, Change):
            found.append(Lifetime(one.what, one.at, None))
        elif isinstance(one, Undone):
            number = next((n for n, it in enumerate(found) if it.what == one.what and it.undone is None), None)
            if number is not None:
                found[number] = replace(found[number], undone=one.at)
    return found
