"""Results out of the process: metrics, Kubernetes Events, a ConfigMap, Grafana annotations.

A publication never changes a verdict: one that fails is said so, and the command then ends with 3 where the run alone
would have ended with 0.
"""
