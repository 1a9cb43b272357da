"""Imports TensorFlow without Python looking for garbage in it: import this first.

What TensorFlow makes stays as long as the process. To look through it takes a second
of the import, and another when the process ends.
"""

import gc

gc.disable()
try:
    import tensorflow  # noqa: F401
finally:
    gc.freeze()
    gc.enable()
