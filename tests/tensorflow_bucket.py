"""A bucket in a folder, read by TensorFlow's classes as it reads gs:// without Beam."""

import pathlib

import tensorflow as tf
from etils.epath import gpath, register

BUCKET = "gs://bucket"
#: Bytes that TensorFlow's client of Google's storage fetches at once, by default.
BLOCK = 64 * 2**20
#: Bytes that its reader asks the client for.
_BUFFER = 512 * 2**10


class Bucket:
    """The files of a folder, as objects.

    Attributes:
        folder: The folder.
        num_bytes: Bytes that have left the bucket.
        opened: Addresses of the objects that were read, in order.
        num_stats: Number of times that the size of an object was asked for.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.num_bytes = 0
        self.opened = []
        self.num_stats = 0

    def local(self, address):
        """Returns the path of the file of an object; a local path as it is."""
        if not str(address).startswith(BUCKET):
            return pathlib.Path(address)
        return self.folder / str(address).removeprefix(BUCKET).lstrip("/")

    def address(self, path):
        """Returns the address of the object of a file."""
        return f"{BUCKET}/{pathlib.Path(path).relative_to(self.folder)}"


def use(folder, patch):
    """Makes TensorFlow, and `epath` through it, find a folder's files as objects.

    Returns the bucket.
    """
    bucket = Bucket(folder)
    gfile = tf.io.gfile
    stat, glob, isdir, walk = gfile.stat, gfile.glob, gfile.isdir, gfile.walk

    class ObjectReader(gfile.GFile):
        def __init__(self, address, mode="r"):
            bucket.opened.append(str(address))
            self._fetched = (0, 0)  # From and to which byte the client has the object.
            super().__init__(str(bucket.local(address)), mode)

        def read(self, n=-1):
            start = self.tell()
            content = super().read(n)
            self._fetch(start, -(-self.tell() // _BUFFER) * _BUFFER)
            return content

        def _fetch(self, start, end):
            size = stat(self.name).length
            if not self._fetched[0] <= start <= self._fetched[1]:
                self._fetched = (start, start)
            while self._fetched[1] < min(end, size):
                begin = self._fetched[1]
                self._fetched = (begin, min(begin + BLOCK, size))
                bucket.num_bytes += self._fetched[1] - begin

    def count_stat(address):
        bucket.num_stats += 1
        return stat(str(bucket.local(address)))

    def walk_objects(address, topdown=True, onerror=None):
        for folder, folders, names in walk(str(bucket.local(address))):
            yield bucket.address(folder), folders, names

    doubles = {
        "GFile": ObjectReader,
        "stat": count_stat,
        "glob": lambda pattern: list(
            map(bucket.address, glob(str(bucket.local(pattern))))
        ),
        "isdir": lambda address: isdir(str(bucket.local(address))),
        "walk": walk_objects,
    }
    for name, double in doubles.items():
        patch.setattr(gfile, name, double)
    # Other tests may have registered Beam's file system.
    patch.setitem(register._URI_PREFIXES_TO_CLS, "gs://", gpath.PosixGPath)
    return bucket
