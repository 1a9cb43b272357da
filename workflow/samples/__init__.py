"""Images for the report's contact sheets."""
