"""The static rung: policies, alert rules and playbooks proven from their files alone, without a cluster."""
