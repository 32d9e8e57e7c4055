"""What goes into a cluster so that it drills itself: rights, schedule, playbook, and alerts that watch the drills."""
