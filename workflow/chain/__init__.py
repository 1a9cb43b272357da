"""Running the stages of a run: what is done, what is stale, what comes next."""
