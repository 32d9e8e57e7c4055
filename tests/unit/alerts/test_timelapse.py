"""Scaling rules: what the scaled text says, what is refused and why, and that no duration is ever left behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.rule import AlertRule
from alerts.timelapse import ScalingRefused, durations, scale_expression, scale_rule


@pytest.mark.parametrize(
    ("expression", "scaled"),
    [
        ("up == 0", "up == 0"),
        ('sum(increase(x{b="1",a="2"}[5m])) > 10', 'sum(increase(x{a="2",b="1"}[20s])) > 10'),
        ("increase(x[5m]) / 300 > 1", "increase(x[20s]) / 300 > 1"),
        ("rate(x[5m]) > 1", "(rate(x[20s]) / 15) > 1"),
        ("-rate(x[5m]) ^ 2", "-(rate(x[20s]) / 15) ^ 2"),
        ("irate(x[1m])", "(irate(x[4s]) / 15)"),
        ("deriv(x[5m:1m])", "(deriv(x[20s:4s]) / 15)"),
        ("x offset 90s", "x offset 6s"),
        ("x offset -1m", "x offset -4s"),
        ("rate(x[1m] offset 5m)", "(rate(x[4s] offset 20s) / 15)"),
        ("max_over_time(rate(x[1m])[5m:30s] offset 1m)", "max_over_time((rate(x[4s]) / 15)[20s:2s] offset 4s)"),
        ("max_over_time(x[5m:])", "max_over_time(x[20s:])"),
        ("x @ end()", "x @ end()"),
        ("max_over_time(x[5m:] @ start() offset 5m)", "max_over_time(x[20s:] @ start() offset 20s)"),
        ("predict_linear(x[1h], 4 * 3600) < 0", "predict_linear(x[4m], (4 * 3600) / 15) < 0"),
        ("time() - max(process_start_time_seconds) < 300", "((time() - max(process_start_time_seconds)) * 15) < 300"),
        ("time() - timestamp(x) > 300", "((time() - timestamp(x)) * 15) > 300"),
        ("holt_winters(x[5m], 0.5, 0.5)", "holt_winters(x[20s], 0.5, 0.5)"),
        (r"x{a=~`\d+`}", r'x{a=~"\\d+"}'),
        ('x{a="`"} # `', 'x{a="`"}'),
        ("absent(process_cpu_seconds_total)", "absent(process_cpu_seconds_total)"),
        ("changes(process_start_time_seconds[15m]) > 0", "changes(process_start_time_seconds[1m]) > 0"),
        ("rate(request_duration_seconds_count[1m])", "(rate(request_duration_seconds_count[4s]) / 15)"),
        ("increase(x[22500ms])", "increase(x[1s500ms])"),
        ("increase(x[11250ms])", "increase(x[750ms])"),
        ('{__name__="x"}', '{__name__="x"}'),
        ("a * on (b) group_left (c) d", "a * on (b) group_left (c) d"),
    ],
)
def test_scaled_text(expression: str, scaled: str) -> None:
    assert scale_expression(expression, 15, "Rule") == scaled


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("sum(x", "cannot be parsed"),
        ("x @ 1700000000", "fixed time"),
        ("x @ -5", "fixed time"),
        ("max_over_time(x[5m:] @ 12)", "fixed time"),
        ("hour() > 3", r"hour\(\) follows the calendar"),
        ("x > 1 and on() (day_of_week() < 6)", "follows the calendar"),
        ("time() - x > 3", "real clock"),
        ("vector(time() % 60) > 3", "real clock"),
        ("process_start_time_seconds - time()", "real clock"),
        ("timestamp(x) > 3", "only as"),
        ("rate(process_cpu_seconds_total[5m]) > 0.9", "how long something takes"),
        ("histogram_quantile(0.9, sum by (le) (rate(http_duration_seconds_bucket[5m])))", "how long something takes"),
        ("max({__name__=~'.*_latency_.*'})", "how long something takes"),
        ("prometheus_notifications_queue_length > 3", "queue"),
        ("rate(x[5m]) == 1", "equality"),
        ("increase(x[100ms])", "whole number of milliseconds"),
        ("x offset 1s", "whole number of milliseconds"),
        ('x{a="1" or b="2"}', "`or` between"),
    ],
)
def test_refused_by_name_and_reason(expression: str, reason: str) -> None:
    with pytest.raises(ScalingRefused, match=reason) as refused:
        scale_expression(expression, 15, "TheRule")
    assert refused.value.name == "TheRule"
    assert "--real-time" in str(refused.value)


@pytest.mark.parametrize("k", [7, 11, 13])
def test_a_for_that_is_no_whole_number_of_milliseconds_is_refused(k: int) -> None:
    with pytest.raises(ScalingRefused, match="for 1m"):
        scale_rule(AlertRule("A", "x > 1", for_ms=60_000), k)


def test_a_rule_is_scaled_as_a_whole() -> None:
    rule = AlertRule("A", "x > 1", for_ms=60_000, keep_firing_ms=120_000, interval_ms=30_000)
    scaled = scale_rule(rule, 15)
    assert scaled.original is rule
    assert (scaled.scaled.for_ms, scaled.scaled.keep_firing_ms, scaled.scaled.interval_ms) == (4000, 8000, 2000)


def test_real_time_changes_nothing_and_refuses_nothing() -> None:
    rule = AlertRule("A", "hour() > 3 and rate( x[5m] ) == 1")
    assert scale_rule(rule, 1).scaled is rule


METRICS = st.sampled_from(["x", "y_total", 'z{a="b",c!~"d|e"}', "ns:rec:sum"])
K = st.sampled_from([2, 3, 5, 12, 15, 20, 60])


def spans(k: int) -> st.SearchStrategy[str]:
    return st.integers(1, 500).map(lambda n: f"{n * k * 50}ms")


def instants(k: int) -> st.SearchStrategy[str]:
    ranged = st.builds(
        "{}({}[{}]{})".format,
        st.sampled_from(
            ["increase", "rate", "irate", "deriv", "delta", "max_over_time", "changes", "absent_over_time"]
        ),
        METRICS,
        spans(k),
        st.one_of(st.just(""), st.builds(" offset {}".format, spans(k)), st.just(" @ end()")),
    )
    plain = st.builds("{}{}".format, METRICS, st.one_of(st.just(""), st.builds(" offset {}".format, spans(k))))

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("sum by (a) ({})".format, inner),
            st.builds("({} {} {})".format, inner, st.sampled_from(["+", "/", "and", "or", "unless", "> bool"]), inner),
            st.builds("({}) > {}".format, inner, st.integers(0, 9)),
            st.builds("min_over_time(({})[{}:{}])".format, inner, spans(k), spans(k)),
            st.builds("-({})".format, inner),
            st.builds("topk(3, {})".format, inner),
        )

    return st.recursive(st.one_of(ranged, plain), deeper, max_leaves=5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_duration_is_divided_and_nothing_else_changes(data: st.DataObject) -> None:
    k = data.draw(K)
    expression = data.draw(instants(k))
    scaled = scale_expression(expression, k, "Rule")
    assert durations(scaled) == tuple(ms // k for ms in durations(expression))
    per_second = sum(expression.count(f"{name}(") for name in ("rate", "deriv"))  # irate included
    assert scaled.count(f"/ {k}") >= per_second
