"""What Alertmanager's configuration has gained since 0.25: an older amtool refuses it, and that is no mistake.

Alertmanager 0.34.0: config/config.go, config/notifiers.go, notify/*/config.go; prometheus/common 0.70,
config/http_config.go. Every key here is one that amtool 0.25.0 was shown not to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from drills.source import KeyPath

KNOWN_TO: Final = "Alertmanager 0.34"
_TOP: Final = ""
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    _TOP: frozenset({"tracing", "event_recorder"}),
    "global": frozenset({
        "jira_api_url", "smtp_auth_secret_file", "smtp_tls_config", "smtp_force_implicit_tls", "slack_app_token",
        "slack_app_token_file", "slack_app_url", "wechat_api_secret_file", "telegram_bot_token",
        "telegram_bot_token_file", "rocketchat_api_url", "rocketchat_token", "rocketchat_token_file",
        "rocketchat_token_id", "rocketchat_token_id_file", "mattermost_webhook_url", "mattermost_webhook_url_file",
    }),
    "route": frozenset({"labels"}),
    "routes": frozenset({"labels"}),
    "receivers": frozenset({
        "labels", "incidentio_configs", "msteams_configs", "msteamsv2_configs", "jira_configs", "rocketchat_configs",
        "mattermost_configs",
    }),
    "inhibit_rules": frozenset({"name"}),
    "webhook_configs": frozenset({"url_file", "timeout", "payload"}),
    "email_configs": frozenset({"auth_secret_file", "force_implicit_tls", "threading"}),
    "slack_configs": frozenset({
        "app_token", "app_token_file", "app_url", "message_text", "update_message", "timeout",
    }),
    "pagerduty_configs": frozenset({"timeout"}),
    "wechat_configs": frozenset({"api_secret_file"}),
    "pushover_configs": frozenset({"user_key_file", "token_file", "device", "ttl", "monospace"}),
    "sns_configs": frozenset({"use_aws_http_client"}),
    "telegram_configs": frozenset({"bot_token_file", "chat_id_file", "message_thread_id"}),
    "discord_configs": frozenset({"webhook_url_file", "content", "username", "avatar_url"}),
    "http_config": frozenset({"no_proxy", "proxy_from_environment", "http_headers"}),
    "oauth2": frozenset({"no_proxy", "proxy_from_environment", "proxy_connect_header"}),
    "tls_config": frozenset({"ca", "cert", "key"}),
    "basic_auth": frozenset({"username_file"}),
}  # fmt: skip
_QUOTED_NAME: Final = re.compile(r'\{?\s*"')


def is_newer_key(path: KeyPath) -> bool:
    """Whether a key is one that newer versions know where it stands."""
    above = [each for each in path[:-1] if isinstance(each, str)]
    return path[-1] in _KEYS.get(above[-1] if above else _TOP, ())


def is_newer_matcher(text: str) -> bool:
    """Whether a matcher is written as it may be since 0.27: with its label's name in quotes."""
    return _QUOTED_NAME.match(text) is not None


def judged_without(path: KeyPath) -> KeyPath:
    """What to leave out so that an older amtool judges the rest: a whole integration, as it may need the key."""
    for depth, step in enumerate(path):
        if isinstance(step, str) and step.endswith("_configs"):
            return path[: depth + 2]
    return path
