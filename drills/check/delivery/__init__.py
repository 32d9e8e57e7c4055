"""Does it reach somebody: where Alertmanager would send each expected alert, and what would mute it."""
