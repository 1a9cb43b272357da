"""What all benchmarks share: taking turns, test photographs, process watching."""
