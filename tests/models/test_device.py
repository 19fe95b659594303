"""The choice of device and arithmetic."""

import threading
import time
from pathlib import Path

import pytest
import torch

from models.device import NoSuchDevice, Workers, cpu_count, matmul_speed, place, split


def test_choice_follows_the_measurement() -> None:
    chosen, speed = place("cpu"), matmul_speed()
    assert chosen.dtype == ("bfloat16" if speed.bfloat16 >= 1.3 * speed.float32 else "float32")
    assert chosen.dtype in chosen.reason
    assert chosen.workers == cpu_count() >= 1
    assert chosen.torch_dtype is {"float32": torch.float32, "bfloat16": torch.bfloat16}[chosen.dtype]


def test_measuring_is_quick_even_where_bfloat16_is_emulated() -> None:
    matmul_speed.cache_clear()
    began = time.process_time()
    matmul_speed()
    assert time.process_time() - began < 1.0


def test_what_is_asked_for_is_had_or_refused() -> None:
    assert place("cpu", "bfloat16").dtype == "bfloat16"
    assert place(None, None).device.startswith("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("cuda:99", "tpu", "mps"):
        with pytest.raises(NoSuchDevice):
            place(device)
    with pytest.raises(NoSuchDevice, match="float32, bfloat16"):
        place("cpu", "float8")


def test_workers_are_single_threaded_and_leave_the_caller_alone() -> None:
    before = torch.get_num_threads()
    workers = Workers(2)
    counts = workers.map(lambda _: (torch.get_num_threads(), threading.current_thread().name), [torch.zeros(1)] * 4)
    assert {count for count, _ in counts} == {1}
    assert torch.get_num_threads() == before


def test_workers_pass_on_errors() -> None:
    def fail(part: torch.Tensor) -> None:
        raise RuntimeError(f"part {int(part)}")

    with pytest.raises(RuntimeError, match="part 7"):
        Workers(2).map(fail, [torch.tensor(7)])


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("most", [1, 8])
def test_split_is_even_and_complete(workers: int, most: int) -> None:
    for count in range(1, 70):
        parts = split(count, workers, most)
        assert sum(parts) == count
        assert 0 < min(parts) <= max(parts) <= most
        assert max(parts) - min(parts) <= 1
        assert len(parts) % workers == 0 or len(parts) == count


def test_a_container_quota_bounds_the_cores() -> None:
    quota = Path("/sys/fs/cgroup/cpu.max")
    limits = quota.read_text().split() if quota.exists() else ["max"]
    if limits[0] != "max":
        assert cpu_count() <= -(-int(limits[0]) // int(limits[1]))
