"""How much room there is where everything is kept."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Disk(Collector):
    """Tells of the file system that a folder is on, when somebody asks."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        """`registry`: where it is shown."""
        self._folder = folder
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for. Nothing where the folder is away: a figure would be of something else."""
        free = GaugeMetricFamily("automations_data_free_bytes", "Room left where server.data_dir is.")
        size = GaugeMetricFamily("automations_data_size_bytes", "Size of the file system where server.data_dir is.")
        try:
            found = shutil.disk_usage(self._folder)
        except FileNotFoundError:
            pass
        else:
            free.add_metric((), found.free)
            size.add_metric((), found.total)
        yield free
        yield size
