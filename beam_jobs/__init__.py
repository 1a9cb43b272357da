"""The Apache Beam jobs: label images, select labels, write records."""
