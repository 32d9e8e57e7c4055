"""A rule file for the pages of findings."""

from __future__ import annotations


def example(expr: str) -> str:
    """With one alert, which has this expression."""
    return f"""\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: {expr}
    for: 1m
    labels: {{severity: warning}}
    annotations: {{summary: Requests are denied}}
"""
