"""Servers of object stores on the loopback, for tests."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from unittest import mock

import fsspec

# gcsfs asks Google's control plane for the kind of each bucket, which an emulator has not, and waits for a minute. It
# looks at this when it is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@contextlib.contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, str]]:
    """moto's server with one bucket, and this process's way to it.

    Yields:
        The environment by which another process finds it.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    try:
        with mock.patch.dict(os.environ, environment):
            forget_stores()
            # Servers of one process have the same buckets.
            with contextlib.suppress(FileExistsError):
                fsspec.filesystem("s3").mkdir(bucket)
            yield environment
    finally:
        server.stop()
        forget_stores()


@contextlib.contextmanager
def gs_server(bucket: str) -> Iterator[dict[str, str]]:
    """An emulator of Google's store with one bucket, and this process's way to it.

    Yields:
        The environment by which another process finds it.
    """
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    server.start()
    host, port = server._api._httpd.server_address
    environment = {"STORAGE_EMULATOR_HOST": f"http://{host}:{port}"}
    try:
        # An emulator knows no accounts, and looking for one takes seconds.
        with mock.patch.dict(os.environ, environment), mock.patch.dict(fsspec.config.conf, gs={"token": "anon"}):
            forget_stores()
            yield environment
    finally:
        server.stop()
        forget_stores()


def forget_stores() -> None:
    """fsspec keeps a store with the endpoint and the listings that it had."""
    for cached in list(fsspec.available_protocols()):
        if cached in ("s3", "gs", "memory"):
            with contextlib.suppress(ImportError, ValueError):
                fsspec.get_filesystem_class(cached).clear_instance_cache()
