"""The report on a run: a page to look at, and the same figures as JSON.

Made from files alone. `run_files` knows where they are, `survey` passes over the
predictions, `judged` and `diagnosis` compute, `figures` gathers all of it; `page` puts
together what `charts`, `sheets` and the sections draw, through `markup`, which escapes
whatever is not its own work.
"""
