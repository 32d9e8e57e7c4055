"""The record of a silence: what of it recovery goes by, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drills.engine.undo import ExpireSilence, Record

GOOD: dict[str, Any] = {
    "alertmanager": "service:monitoring/alertmanager-operated:9093",
    "labels": {"alertname": "Denied"},
    "comment": "drills: run r, playbook p, drill d",
    "ends_at": 2_000_000_000.5,
}


def test_it_is_written_and_read() -> None:
    record = Record(run="r", order=1, what="a silence", at="now", undo=ExpireSilence(**GOOD))
    again = Record.model_validate_json(record.model_dump_json(by_alias=True))
    assert again == record
    assert isinstance(again.undo, ExpireSilence)
    assert (dict(again.undo.silence.labels), again.undo.silence.ends_at) == (GOOD["labels"], GOOD["ends_at"])


@pytest.mark.parametrize(
    "change",
    [
        {"alertmanager": "http://user:secret@am:9093"},  # never written down
        {"alertmanager": "file:///etc/passwd"},
        {"alertmanager": "service:nowhere"},
        {"comment": "maintenance until Tuesday"},  # somebody else's
        {"id": "of a newer version"},
    ],
)
def test_what_is_no_silence_of_ours_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExpireSilence(**{**GOOD, **change})
