"""Points in time that callers send."""

from datetime import datetime

from serving.errors import InvalidRequest


def zoned(moment: datetime, name: str) -> datetime:
    """The moment, if it says in which zone it is. Raises InvalidRequest, which points at the parameter `name`."""
    if moment.tzinfo is None:
        raise InvalidRequest("a time without its zone", ((f"?{name}", "add Z or an offset, for example +02:00"),))
    return moment
