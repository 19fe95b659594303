"""Takes the tenant out of every query, so that only the database keeps tenants apart."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import asyncpg
from sqlalchemy import Engine, event

#: What scopes a query: `video.tenant_id = $1::VARCHAR`, likewise in statements that are written out.
_SCOPE = re.compile(r"((?:\b\w+\.)?\btenant_id\s*=\s*\$\d+(?:::\w+)?)", re.IGNORECASE)

#: The same in functions of the database.
_SCOPE_THERE = re.compile(r"\btenant_id = (?:\w+(?:\[\w+\])?|\$\d+)(?= AND\b)", re.IGNORECASE)

_FUNCTIONS = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'tenant\\_%'"


@dataclass
class Rewritten:
    """What was taken apart."""

    statements: list[str] = field(default_factory=list)

    @property
    def tables(self) -> set[str]:
        """Whose queries were."""
        found = (re.search(r"\b(?:FROM|UPDATE|INTO) (\w+)", statement) for statement in self.statements)
        return {one[1] for one in found if one}


@contextmanager
def unscoped() -> Iterator[Rewritten]:
    """While this lasts, conditions on the tenant hold for every row, in all that goes through SQLAlchemy."""
    rewritten = Rewritten()

    def rewrite(connection, cursor, statement, parameters, context, executemany):
        # The parameter stays where it is: the driver counts them.
        without = _SCOPE.sub(r"(\1 OR true)", statement)
        if without != statement:
            rewritten.statements.append(without)
        return without, parameters

    event.listen(Engine, "before_cursor_execute", rewrite, retval=True)
    try:
        yield rewritten
    finally:
        event.remove(Engine, "before_cursor_execute", rewrite)


async def unscope_functions(url: str) -> int:
    """The same for the functions that quick reads go through, for good; how many there are."""
    connection = await asyncpg.connect(url)
    try:
        found = [row[0] for row in await connection.fetch(_FUNCTIONS)]
        for definition in found:
            without, times = _SCOPE_THERE.subn("true", definition)
            assert times == 1, definition
            await connection.execute(without)
    finally:
        await connection.close()
    return len(found)
