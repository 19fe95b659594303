"""How much room there is, as Prometheus reads it."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics.disk import Disk


def _shown(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    Disk(folder, registry)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_room_is_that_of_the_file_system_that_the_folder_is_on(tmp_path):
    found = _shown(tmp_path)
    there = os.statvfs(tmp_path)
    assert found["automations_data_size_bytes"] == there.f_blocks * there.f_frsize
    assert 0 < found["automations_data_free_bytes"] <= found["automations_data_size_bytes"]


def test_a_folder_that_is_away_has_no_figure(tmp_path):
    assert _shown(tmp_path / "away") == {}
