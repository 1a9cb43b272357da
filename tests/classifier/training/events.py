"""What TensorBoard's event files hold."""

import tensorflow as tf
from tensorflow.core.util import event_pb2


def read_events(directory):
    """Returns every (step, name, value), as a reader of records sees them."""
    found = []
    for path in sorted(directory.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                found.append(
                    (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
                )
    return sorted(found)
