"""Envoy's configuration on a node: a bootstrap that never changes, and the policy as two route configurations.

The two listeners, for the ingress and the egress direction, take whatever the packet filter redirects to them and
go on to the original destination in the client's name. Which requests pass is an RBAC policy on the one virtual
host: an allow list, as Cilium's is. Only that part changes with policies and pods, and Envoy takes it on live
connections within milliseconds (LAB.md).

Facts of Cilium's Envoy, cilium/proxy and Cilium 1.20: the denial's body is ``Access denied`` with CR LF
(cilium/l7policy.cc); paths are normalised, slashes merged, escaped slashes answered by a redirect
(``http-normalize-path``); 2 s to connect, one hour per request, 300 s of idle stream, websockets allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import Any

from drills.cilium.l7 import HeaderRule, HttpRule
from drills.lab.agent import nftables
from drills.lab.agent.program import HttpMatch, NodeProgram, Peers, Ports

Json = dict[str, Any]

DIRECTIONS = ("ingress", "egress")
ROUTE = "policy"  # a request without this route name never got as far as the policy
DENIED_BODY = "Access denied\r\n"
DENIED_DETAILS = "rbac_access_denied"  # how %RESPONSE_CODE_DETAILS% of a denial starts

_TYPE = "type.googleapis.com/envoy"
_PORTS = {"ingress": nftables.INGRESS_PORT, "egress": nftables.EGRESS_PORT}
_MARKS = {"ingress": nftables.FROM_INGRESS_PROXY, "egress": nftables.FROM_EGRESS_PROXY}

ACCESS_LOG: Mapping[str, str] = {
    "dir": "",  # set per listener
    "at": "%START_TIME(%s.%6f)%",
    "ms": "%DURATION%",
    "from": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "to": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "method": "%REQ(:METHOD)%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "agent": "%REQ(USER-AGENT)%",
    "id": "%REQ(X-REQUEST-ID)%",
}
"""Keys of an access log line and Envoy's words for them."""


def bootstrap(node: str, admin: str, directory: str) -> Json:
    """The configuration that Envoy starts with.

    ``admin`` is the path of the admin interface's unix socket; ``directory`` is where `route_file` is found.
    """
    return {
        "node": {"id": node, "cluster": "cilium"},
        "admin": {"address": {"pipe": {"path": admin}}},
        "static_resources": {
            "listeners": [_listener(direction, directory) for direction in DIRECTIONS],
            "clusters": [_original_destination()],
        },
        # 0.0.0.0-wide limits are for proxies on the internet; this one serves a handful of pods
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 50_000,
                    },
                }
            ]
        },
    }


def route_file(direction: str) -> str:
    """Where below the directory a direction's route configuration lies; each has a directory of its own."""
    return f"{direction}/routes.json"


def routes(program: NodeProgram, direction: str, version: int) -> Json:
    """The content of a direction's route file: what Envoy must let pass, everything else is denied."""
    config = {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": direction,
        "virtual_hosts": [
            {
                "name": "pods",
                "domains": ["*"],
                "routes": [
                    {
                        "name": ROUTE,
                        "match": {"prefix": "/"},
                        "route": {"cluster": "original", "timeout": "3600s"},
                    },
                    # OPTIONS * and CONNECT have no path
                    {
                        "name": ROUTE,
                        "match": {"safe_regex": {"regex": ".*"}},
                        "route": {"cluster": "original", "timeout": "3600s"},
                    },
                ],
                "typed_per_filter_config": {
                    "envoy.filters.http.rbac": {
                        "@type": f"{_TYPE}.extensions.filters.http.rbac.v3.RBACPerRoute",
                        "rbac": {"rules": {"action": "ALLOW", "policies": policies(program, direction)}},
                    }
                },
            }
        ],
    }
    return {"version_info": str(version), "resources": [config]}


def policies(program: NodeProgram, direction: str) -> Json:
    """The RBAC policies of a direction by name; a request that matches none of them is denied."""
    found: Json = {}
    for endpoint in program.endpoints:
        side = endpoint.ingress if direction == "ingress" else endpoint.egress
        # what is allowed without a look at the request passes the proxy too
        plain = (HttpMatch(match) for match in side.allow if match.ports.protocol in ("any", "tcp"))
        for index, http in enumerate((*side.http, *plain) if side.http else ()):
            policy = _policy(direction, endpoint.address, http, program)
            if policy is not None:
                found[f"{endpoint.address}/{index}"] = policy
    return found


def _policy(direction: str, own: IPv4Address, http: HttpMatch, program: NodeProgram) -> Json | None:
    peers, managed = http.match.peers, program.managed
    if peers.fqdn is not None:
        known = program.named.get(peers.fqdn, ())
        peers = replace(peers, networks=tuple(IPv4Network(address) for address in known), fqdn=None)
    if peers.nobody:
        return None
    requests = _any_of("or_rules", "rules", [_request(rule) for rule in http.rules])
    port = _port(http.match.ports)
    here = _cidr(IPv4Network(own))
    if direction == "ingress":
        others = _remote(peers, managed)
        return {"principals": [others], "permissions": [_all_of({"destination_ip": here}, port, requests)]}
    destination = _destination(peers, managed)
    return {"principals": [{"direct_remote_ip": here}], "permissions": [_all_of(destination, port, requests)]}


def _request(rule: HttpRule) -> Json:
    conditions = [
        {"header": {"name": name, "string_match": {"safe_regex": {"regex": regex}}}}
        for name, regex in ((":path", rule.path), (":method", rule.method), (":authority", rule.host))
        if regex
    ]
    conditions += [_header(header) for header in rule.headers if header.enforced]
    return _all_of(*conditions)


def _header(header: HeaderRule) -> Json:
    if header.value is None:
        return {"header": {"name": header.name, "present_match": True}}
    return {"header": {"name": header.name, "string_match": {"exact": header.value}}}


def _port(ports: Ports) -> Json | None:
    if not ports.low:
        return None
    if ports.low == ports.high:
        return {"destination_port": ports.low}
    return {"destination_port_range": {"start": ports.low, "end": ports.high + 1}}  # the end is exclusive


def _remote(peers: Peers, managed: Iterable[IPv4Address]) -> Json:
    inside = None if peers.networks is None else [{"direct_remote_ip": _cidr(net)} for net in _collapsed(peers)]
    conditions = [] if inside is None else [_any_of("or_ids", "ids", inside)]
    if peers.outside:
        cluster = [{"direct_remote_ip": _cidr(IPv4Network(address))} for address in managed]
        conditions.append({"not_id": _any_of("or_ids", "ids", cluster)} if cluster else {"any": True})
    return {"and_ids": {"ids": conditions}} if conditions else {"any": True}


def _destination(peers: Peers, managed: Iterable[IPv4Address]) -> Json:
    inside = None if peers.networks is None else [{"destination_ip": _cidr(net)} for net in _collapsed(peers)]
    conditions = [] if inside is None else [_any_of("or_rules", "rules", inside)]
    if peers.outside:
        cluster = [{"destination_ip": _cidr(IPv4Network(address))} for address in managed]
        conditions.append({"not_rule": _any_of("or_rules", "rules", cluster)} if cluster else {"any": True})
    return _all_of(*conditions)


def _collapsed(peers: Peers) -> list[IPv4Network]:
    return list(collapse_addresses(peers.networks or ()))


def _cidr(network: IPv4Network) -> Json:
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _all_of(*conditions: Json | None) -> Json:
    given = [condition for condition in conditions if condition is not None and condition != {"any": True}]
    if not given:
        return {"any": True}
    return given[0] if len(given) == 1 else {"and_rules": {"rules": given}}


def _any_of(word: str, inner: str, conditions: list[Json]) -> Json:
    if not conditions or {"any": True} in conditions:
        return {"any": True}
    return conditions[0] if len(conditions) == 1 else {word: {inner: conditions}}


def _listener(direction: str, directory: str) -> Json:
    return {
        "name": direction,
        "transparent": True,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": _PORTS[direction]}},
        "listener_filters": [
            {
                "name": "envoy.filters.listener.original_dst",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.listener.original_dst.v3.OriginalDst"},
            },
            {
                "name": "envoy.filters.listener.original_src",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.listener.original_src.v3.OriginalSrc",
                    "mark": _MARKS[direction],
                },
            },
        ],
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(direction, directory),
                    }
                ]
            }
        ],
    }


def _connection_manager(direction: str, directory: str) -> Json:
    path = f"{directory}/{route_file(direction)}"
    return {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": direction,
        "rds": {
            "route_config_name": direction,
            "config_source": {
                "path_config_source": {
                    "path": path,
                    "watched_directory": {"path": path.rpartition("/")[0]},
                },
                "resource_api_version": "V3",
            },
        },
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "use_remote_address": True,
        "skip_xff_append": True,
        "stream_idle_timeout": "300s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "local_reply_config": {
            "mappers": [
                {
                    # Envoy says 403 for more than policy: an upgrade that it does not support, for example
                    "filter": {
                        "extension_filter": {
                            "name": "envoy.access_loggers.extension_filters.cel",
                            "typed_config": {
                                "@type": f"{_TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                                "expression": f"response.code_details.startsWith('{DENIED_DETAILS}')",
                            },
                        }
                    },
                    "body": {"inline_string": DENIED_BODY},
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.rbac",
                # without the route's policy nothing passes
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.rbac.v3.RBAC",
                    "rules": {"action": "ALLOW", "policies": {}},
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.router.v3.Router",
                    # x-envoy-upstream-service-time tells an application's answer from a denial; the egress proxy
                    # would put it on a denial of the target's ingress proxy
                    "suppress_envoy_headers": direction == "egress",
                },
            },
        ],
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/stdout",
                    "log_format": {"json_format": {**ACCESS_LOG, "dir": direction}},
                },
            }
        ],
    }


def _original_destination() -> Json:
    return {
        "name": "original",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": "60s"},
            }
        },
    }
