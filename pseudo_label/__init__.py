"""What a pseudo-label is: predicted, selected, recorded, turned into a target.

Knows nothing of how classifiers are made or how jobs are run.
"""
