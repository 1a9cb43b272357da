"""The report's page: figures as HTML and SVG."""
