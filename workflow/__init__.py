"""Commands about a whole run: further rounds, contact sheets, and the report."""
