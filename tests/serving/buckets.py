"""An S3 server for tests: moto's, in a thread of this process. It keeps objects in memory, and looks at no signature.

With `TEST_STORE=bucket` in the environment all stores of tests are in a bucket of such a server instead of in folders:
`make buckets`. With `TEST_STORE=http://...` they are at that server, which somebody has started; its credentials are in
the environment then, as for any other program.
"""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.storage.address import Address
from serving.storage.bucket import Bucket
from serving.storage.spool import Spool

#: What says where stores of tests are.
VARIABLE = "TEST_STORE"

#: What says it to processes of tests, once the server is there.
ENDPOINT = "TEST_STORE_ENDPOINT"

#: The bucket.
NAME = "automations-test"

#: What moto wants to see, and does not look at.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@contextmanager
def s3() -> Iterator[str]:
    """The address of a server with the bucket in it; the one that is running, where tests were told of it."""
    if os.environ.get(VARIABLE, "").startswith("http"):
        yield os.environ[VARIABLE]
        return
    from moto.server import ThreadedMotoServer

    os.environ |= _CREDENTIALS
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        made = urllib.request.Request(f"http://{host}:{port}/{NAME}", method="PUT")
        urllib.request.urlopen(made).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def bucket_at(root: Path, endpoint: str) -> Bucket:
    """Objects in the bucket that belong to a folder, and are nowhere in it."""
    prefix = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    spool = Spool(root.parent / f"{root.name}-spool", 1 << 30)
    return Bucket(Address("s3", NAME, prefix), spool, endpoint=endpoint)
