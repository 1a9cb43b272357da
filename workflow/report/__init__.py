"""The report on a run: an HTML page, and the same figures as JSON.

Both are made from the run's files alone: `analysis` reads them and computes the
figures, `rendering` fills the templates of the page.
"""
