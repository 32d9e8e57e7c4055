"""Pods of the lab: sandboxes made of namespaces, stand-ins for images, and a kubelet for every node."""
