"""Training on Cloud TPUs that are created for it, and created again when preempted."""
