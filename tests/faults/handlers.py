"""Model handlers, working and broken ones, for `--model_handler`."""

import json
import os
import pathlib
import time

import numpy as np
import psutil
from apache_beam.ml.inference.base import ModelHandler

CLASSES = 3


class Fixed(ModelHandler):
    """Returns the same logits for each image."""

    def load_model(self):
        return np.arange(CLASSES)

    def run_inference(self, batch, model, inference_args=None):
        return [model] * len(batch)


class NotFinite(Fixed):
    """Returns NaN for the second image of a batch."""

    def run_inference(self, batch, model, inference_args=None):
        rows = np.zeros((len(batch), CLASSES))
        rows[1] = np.nan
        return rows


class MoreClasses(Fixed):
    def load_model(self):
        return np.arange(CLASSES + 1)


class FewerRows(Fixed):
    def run_inference(self, batch, model, inference_args=None):
        return [model] * (len(batch) - 1)


class Raising(Fixed):
    def run_inference(self, batch, model, inference_args=None):
        raise RuntimeError("out of memory on the accelerator")


class Unloadable(Fixed):
    def load_model(self):
        raise OSError("model.onnx: checksum mismatch")


class Slow(Fixed):
    """Is slow enough for a test to interfere."""

    def run_inference(self, batch, model, inference_args=None):
        time.sleep(0.3)
        return super().run_inference(batch, model)


class Listening(Fixed):
    """Writes where a process and its children listen to a file in a directory.

    The argument is the process's number, a comma and the directory.
    """

    def __init__(self, argument):
        super().__init__()
        self._process, self._directory = argument.split(",")

    def run_inference(self, batch, model, inference_args=None):
        process = psutil.Process(int(self._process))
        addresses = [
            connection.laddr.ip
            for each in (process, *process.children(recursive=True))
            for connection in each.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        path = pathlib.Path(self._directory) / f"{os.getpid()}.json"
        path.write_text(json.dumps(addresses))
        return super().run_inference(batch, model)
