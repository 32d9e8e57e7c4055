"""The embedded cluster: everything real except kubelet and cilium-agent, behind the Kubernetes API."""
