"""Labels spread from labeled images over a graph of nearest neighbors."""
