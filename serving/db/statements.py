"""Statements that are no query of a model: SQL that says what the ORM cannot."""

from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import CursorResult
from sqlmodel.ext.asyncio.session import AsyncSession


async def execute(session: AsyncSession, statement: Executable, **values: Any) -> CursorResult[Any]:
    """Run it in the session's transaction, after what was added to the session so far."""
    await session.flush()
    return await (await session.connection()).execute(statement, values)
