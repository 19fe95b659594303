"""Operations that answer HEAD as others answer GET: with the same headers, of what is made all the same, and no body
(RFC 9110, 9.3.2)."""

from functools import wraps
from inspect import signature
from typing import Any

from litestar import Response, head
from litestar.handlers import HTTPRouteHandler

from serving.api.sending import Sent


def described(handler: HTTPRouteHandler, operation_id: str) -> HTTPRouteHandler:
    """What answers HEAD where `handler` answers GET; for the same people, with the same parameters."""
    answer_to = handler.fn

    @wraps(answer_to)
    async def describe(**given: Any) -> Response[None]:
        return _headers_of(await answer_to(**given))

    # In place of what the framework would find behind the wrapper, which has a body.
    describe.__signature__ = signature(answer_to).replace(return_annotation=Response[None])  # type: ignore[attr-defined]
    describe.__annotations__ = {**answer_to.__annotations__, "return": Response[None]}
    describe.__doc__ = f"As `{handler.operation_id}`, without the body."
    return head(
        sorted(handler.paths),
        operation_id=operation_id,
        opt=handler.opt,
        responses=handler.responses,
        tags=handler.tags,
        summary=f"{handler.summary}: headers",
        media_type=handler.media_type,
    )(describe)


def _headers_of(answer: Response[Any]) -> Sent:
    if isinstance(answer, Sent):
        return answer.without_body()
    # Neither an app nor a request is looked at.
    told = answer.to_asgi_response(None, None)  # type: ignore[arg-type]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in told.encoded_headers}
    return Sent(told.status_code, headers)
