"""What a user writes: the playbook, as typed objects, and how it is loaded.

A playbook is loaded and checked once, here; nothing downstream sees a raw dict. Every complaint names file, line and
column, and the nearest known word.
"""

from drills.playbook.load import PlaybookError, json_schema, load, parse, playbook_of
from drills.playbook.model import (
    AlertExpectation,
    Control,
    Denied,
    DnsControl,
    DnsInjection,
    Drill,
    ExistingPod,
    Expect,
    FloodInjection,
    Guards,
    HttpControl,
    HttpInjection,
    Injection,
    Playbook,
    PostgresControl,
    PostgresInjection,
    ProbeInjection,
    Source,
    TcpControl,
    TcpInjection,
    Under,
    WireguardInjection,
)

__all__ = [
    "AlertExpectation",
    "Control",
    "Denied",
    "DnsControl",
    "DnsInjection",
    "Drill",
    "ExistingPod",
    "Expect",
    "FloodInjection",
    "Guards",
    "HttpControl",
    "HttpInjection",
    "Injection",
    "Playbook",
    "PlaybookError",
    "PostgresControl",
    "PostgresInjection",
    "ProbeInjection",
    "Source",
    "TcpControl",
    "TcpInjection",
    "Under",
    "WireguardInjection",
    "json_schema",
    "load",
    "parse",
    "playbook_of",
]
