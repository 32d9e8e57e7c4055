"""What a drill would meet in a cluster that holds exactly the given policies and workloads, by Cilium's semantics."""
