"""What `automations doctor` says of the processes that read videos; the whole command is in `test_cli`."""

import pytest

from pipeline.limits import WorkerLimits
from pipeline.sandbox import isolation
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.isolation import Isolation
from serving.doctor import Finding, examine_isolation

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")


def _by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.what: one for one in findings}


def test_rights_that_are_kept_are_said_with_their_remedy(monkeypatch):
    kept = ("capabilities (Operation not permitted)", "root's user id")
    with Sandbox() as sandbox:
        honest = sandbox.isolation()
        found = _by_name(examine_isolation(sandbox))
        assert found["reading"].good
        assert found["rights"].good == (not honest.kept)
        monkeypatch.setattr(sandbox, "isolation", lambda: Isolation(syscalls=True, network=True, kept=kept))
        rights = _by_name(examine_isolation(sandbox))["rights"]
    assert not rights.good
    assert not rights.vital, "the filter holds all the same"
    assert all(right in rights.says for right in kept)
    assert rights.fix


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20])
def test_too_little_memory_to_read_a_video_is_found(memory_bytes):
    with Sandbox(WorkerLimits(memory_bytes=memory_bytes)) as sandbox:
        bad = [one for one in examine_isolation(sandbox) if one.vital and not one.good]
    assert bad
    assert all("worker.memory_bytes" in f"{one.says} {one.fix}" for one in bad)
