"""Sample images of a round, for the contact sheets of the report."""
