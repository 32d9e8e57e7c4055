"""``report.html`` as text: what it says first, what would have to change, and that nothing in it is anybody's code.

How it looks in a browser is tested in ``tests/lab/test_report_in_browser.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_factory as factory
import report_journal as journals

from drills.engine.result import Result
from drills.report import record
from drills.report.html import page
from drills.report.record import Record

VOID = {"meta", "link", "br", "wbr"}
MAKERS = [
    factory.passed,
    factory.breach,
    factory.inconclusive,
    factory.miss,
    factory.aborted,
    factory.hostile,
    factory.game_day,
]


class Page(HTMLParser):
    """Elements, attributes and texts; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str]] = []  # element, text
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", " ".join(data.split())))

    def of(self, *elements: str) -> list[str]:
        return [text for element, text in self.texts if element in elements]


def read(result: Result, of: Record | None = None) -> Page:
    return Page(page(result, of or Record()))


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_whole_and_needs_nothing_else(make: Callable[[], Result]) -> None:
    found = read(make())
    assert not {"script", "img", "iframe", "object", "form", "base"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in found.attributes if name in ("href", "src", "xlink:href", "action")]
    assert all(value == "data:," or re.fullmatch(r"#drill-\d+", value or "") for value in links)
    assert "url(http" not in page(make(), Record())


@pytest.mark.parametrize(
    ("make", "headline"),
    [
        (
            factory.passed,
            "What must not work did not work, every expected alert told of it, and everything was put back.",
        ),
        (factory.breach, "The policy did not hold: all 900 forbidden attempts got through."),
        (factory.miss, "Nobody would have been told: CiliumHTTPRequestsDenied never fired."),
        (
            factory.inconclusive,
            "Nothing is proven about the policy: the control was broken: a denial beside a dead path proves nothing.",
        ),
        (factory.aborted, "The run was stopped before everything could be judged."),
        (factory.game_day, "4 things went wrong, in 2 of 4 drills."),
    ],
)
def test_the_verdict_comes_first(make: Callable[[], Result], headline: str) -> None:
    found = read(make())
    assert found.of("title")[0] == f"{make().verdict.upper()}: zero-trust"
    assert found.of("h1") == [headline]
    body = [text for element, text in found.texts if element not in ("title", "style")]
    assert body[0] == make().verdict


def test_what_would_have_to_change_follows_where_something_failed() -> None:
    assert read(factory.passed()).of("h2")[0] == "admin-path"
    found = read(factory.miss())
    assert found.of("h2")[0] == "What would have to change"
    assert "Compare the metric's name with what the agents export, and see that their scrape targets are up." in (
        found.of("li")
    )


def test_a_breach_names_what_the_policy_must_deny_and_policies_without_effect(tmp_path: Path) -> None:
    run = factory.game_day()
    kept = record.read(journals.write(tmp_path / "journal.jsonl", journals.lines(run, journals.ATTACKS)))
    steps = read(run, kept).of("li")
    assert "A policy must deny this: GET http://http-api.backend/admin/config, 5/s for 3m, from frontend." in steps
    assert "Cilium refuses CiliumNetworkPolicy backend/api, so that it has no effect." in steps
    assert "Still to be undone: pod frontend/drill-frontend-1" in steps
    assert "sum(increase(cilium_policy_l7_denied_total[5m])) > 10" in read(run, kept).of("pre")


SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}</style>"


def test_text_from_the_cluster_stays_text() -> None:
    one = factory.hostile()
    attacked = one.model_validate_json(one.model_dump_json(by_alias=True).replace("evil [bold red]", _json(SCRIPT)))
    kept = Record(run=attacked.run, digest="x")
    text = page(attacked, kept)
    found = Page(text)
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert SCRIPT in " ".join(found.of("h2", "h1", "li", "p", "title"))
    assert text.count("</style>") == 1
    assert not set("\x1b\x07\u202e\u2066") & set(text)


def _json(text: str) -> str:
    return text.replace('"', '\\"')


def test_the_policy_of_the_page_allows_its_own_style_only() -> None:
    (policy,) = [value for name, value in read(factory.passed()).attributes if name == "content" and "src" in value]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("kept", "notice"),
    [
        (Record(), "No journal lies beside the result"),
        (Record(run="another", digest="abc"), "belongs to another run"),
        (Record(run="20260301-204800-ab12", digest="other"), "does not have the hash that the run recorded"),
        (Record(run="20260301-204800-ab12", digest="abc", unreadable=2), "2 lines of the journal cannot be read"),
        (Record(run="20260301-204800-ab12", digest="abc"), ""),
    ],
)
def test_what_a_reader_must_know_of_the_journal(kept: Record, notice: str) -> None:
    assert (notice in " ".join(read(factory.passed(), kept).of("p"))) == bool(notice) or not notice
    assert ('class="notice"' in page(factory.passed(), kept)) == bool(notice)


def test_several_drills_have_a_table_and_anchors() -> None:
    found = read(factory.game_day())
    assert found.of("h2")[0] == "The drills"
    ids = [value for name, value in found.attributes if name == "id" and value and value.startswith("drill-")]
    assert ids == ["drill-1", "drill-2", "drill-3", "drill-4"]


def test_words_are_explained_that_occur() -> None:
    words = read(factory.miss()).of("dt")
    assert "missed" in words
    assert "premature" not in words
