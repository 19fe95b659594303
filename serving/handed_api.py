"""The API of `automations serve`, which is there before anything else: `python -m serving.handed_api`, told on standard
input of all that it needs, see `handing`.
"""

import sys

from pipeline.errors import VideoError
from serving.analyzing import REFUSED, refuse
from serving.errors import ServerError
from serving.handing import Told
from serving.places import there
from serving.server import serve_api


def main() -> None:
    """Entry point."""
    told = Told(sys.stdin.fileno())
    # Loaded here, while the settings are read elsewhere.
    import uvicorn  # noqa: F401

    import serving.api.starting  # noqa: F401

    try:
        settings = told.settings()
        serve_api(settings, lambda: there(settings, told.database_url()), lambda: told.waits)
    except (VideoError, ServerError) as error:
        refuse(error)
        raise SystemExit(REFUSED) from None


if __name__ == "__main__":
    main()
