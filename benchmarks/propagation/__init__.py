"""The propagation job: exactness, speed and memory."""
