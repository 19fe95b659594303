"""Nothing heavier than a path is shared by all tests; each package has its own fixtures."""

import gc
import os
from typing import Final

import pytest

#: Modules of tests that take longest, the longest first: minutes, with processes and clusters of their own. Whoever
#: begins with one of them last keeps everybody waiting.
LONGEST: Final = (
    "serving/graph/test_cluster.py",
    "serving/graph/test_serve_command.py",
    "serving/jobs/test_crashes.py",
    "serving/test_client.py",
    "serving/api/test_fuzz.py",
    "serving/graph/test_metrics.py",
    "serving/api/test_matrix.py",
    "serving/test_train_head_command.py",
    "models/test_scaffold.py",
    "serving/graph/test_lingering.py",
    "serving/test_cli.py",
    "models/test_outside.py",
    "models/test_conformance.py",
    "serving/uploads/test_crashes.py",
    "serving/jobs/test_chaos.py",
    "serving/auth/test_signing_in.py",
    "serving/auth/test_commands.py",
    "serving/api/test_streams.py",
    "serving/test_beside.py",
    "serving/test_models_compare.py",
    "serving/test_models_told.py",
    "serving/db/test_embedded.py",
    "serving/test_together.py",
    "serving/api/test_early.py",
    "serving/graph/test_launch.py",
    "serving/api/test_running_jobs.py",
    "serving/auth/test_strangers.py",
    "serving/auth/test_users.py",
    "serving/webhooks/test_dying.py",
    "serving/jobs/test_progress.py",
)

# Ray's processes give way to all others by default, which is to wait for minutes where tests run beside each other.
os.environ.setdefault("RAY_worker_niceness", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; within them, and of all others, the order stays."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((at for at, module in enumerate(LONGEST) if path.endswith(f"tests/{module}")), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: whoever collects garbage, as many tests do, need not look through all of it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Libraries that look for leaks at the end find none."""
    gc.unfreeze()
