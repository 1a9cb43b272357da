import pytest
from gcp_storage_emulator.server import create_server

from tests.commands import free_port


@pytest.fixture(scope="session")
def emulator():
    """Starts an emulator with the bucket `my-bucket`; returns its address."""
    port = free_port()
    server = create_server(
        "localhost", port, in_memory=True, default_bucket="my-bucket"
    )
    server.start()
    yield f"http://localhost:{port}"
    server.stop()
