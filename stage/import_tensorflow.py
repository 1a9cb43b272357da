"""Imports TensorFlow with the garbage collector disabled: import this first.

The objects that TensorFlow creates live as long as the process. Not scanning them saves
a second of the import and another one when the process ends.
"""

import gc

gc.disable()
try:
    import tensorflow  # noqa: F401
finally:
    gc.freeze()
    gc.enable()
