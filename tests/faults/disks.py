"""Full and read-only disks, if the tests may mount any."""

import contextlib
import os
import subprocess

import pytest


@contextlib.contextmanager
def mounted(path, options):
    """Mounts a disk in memory on a directory; skips the test where that is forbidden.

    Args:
        path: Directory to mount on.
        options: Options of mount, such as `size=28k`.
    """
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path, options):
    """Changes the options of a disk that is mounted."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)
