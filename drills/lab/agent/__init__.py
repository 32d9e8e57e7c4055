"""What stands for cilium-agent, its Envoy and Hubble on the lab's nodes."""
