"""The chain as a whole: rounds, contact sheets and the report."""
