"""Security drills for Kubernetes clusters that run Cilium, and proof that the alerts which watch them work."""

__version__ = "0.1.0"
