"""Learns of what was said, a label at a time."""

from serving.db.database import Database
from serving.jobs.running import Toolkits


class Learner:
    """Of a worker."""

    def __init__(self, database: Database, toolkits: Toolkits, *, quiet_s: float = 5.0) -> None:
        self._database, self._toolkits, self._quiet_s = database, toolkits, quiet_s

    async def step(self) -> bool:
        """Learn for one label for which it is due; whether there was one."""
        return False
