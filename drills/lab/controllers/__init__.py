"""The controllers that a playbook leans on: scheduling, workloads, Services."""

from drills.lab.controllers.controllers import Controllers

__all__ = ["Controllers"]
