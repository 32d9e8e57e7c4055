"""Cilium's semantics, free of I/O: the policy model, what the API and Cilium refuse, and what a flow would meet."""
