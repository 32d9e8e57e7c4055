"""The lab's monitoring: a real Prometheus, a real Alertmanager, and a receiver of the lab's own."""
