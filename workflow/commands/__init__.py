"""What the commands of `noisy-student` do."""
