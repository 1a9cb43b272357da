"""Accuracy of ways to learn from few labels, at the same number of multiply-adds."""
