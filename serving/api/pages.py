"""The page behind each kind of problem."""

from html import escape

from litestar import MediaType, Response, get

from serving.api.access import OPEN
from serving.problems import KINDS

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{code}</title><style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem;
color-scheme:light dark}}</style><h1>{title}</h1><p><code>{code}</code>, HTTP status {status}</p>
<h2>What to do</h2><p>{remedy}</p></html>
"""


@get(
    "/problems/{code:str}",
    operation_id="explain_problem",
    **OPEN,
    tags=["problems"],
    summary="A kind of problem",
    media_type=MediaType.HTML,
)
async def problem(code: str) -> Response[str]:
    """What a kind of problem is, and what to do about it: the page that `type` of a problem leads to."""
    kind = KINDS.get(code)
    if kind is None:
        page = _PAGE.format(code="unknown", title="No such kind of problem", status=404, remedy="Check the code.")
        return Response(page, status_code=404, media_type=MediaType.HTML)
    fields = {"code": code, "title": escape(kind.title), "status": kind.status, "remedy": escape(kind.remedy)}
    return Response(_PAGE.format(**fields), media_type=MediaType.HTML)
