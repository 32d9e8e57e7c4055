"""The lab's Kubernetes API: a small API server that kubectl and the official clients take for a cluster's."""
