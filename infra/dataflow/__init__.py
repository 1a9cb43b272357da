"""What the commands around runs on Dataflow share."""
