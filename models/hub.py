"""Weights from a Hugging Face hub: what the local cache has, whether the hub can be reached, and a download."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from models.errors import WeightsUnavailable

PROBE_LIMIT_S = 2.5
"""Longest wait for a first answer. It holds even where name lookup hangs, because the wait is for a thread."""


def cached(repo: str, names: Sequence[str]) -> Path | None:
    """The first of the files that the local cache has. Asks nothing of the network."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        path = try_to_load_from_cache(repo, name)
        if isinstance(path, str):
            return Path(path)
    return None


def reachable(repo: str, name: str) -> bool:
    """Whether the hub answers within `PROBE_LIMIT_S`, be it with a refusal. False where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def ask() -> None:
        try:
            # The client's own request: it goes by its proxies, endpoint and certificates, as the download will.
            get_hf_file_metadata(hf_hub_url(repo, name), timeout=PROBE_LIMIT_S)
        except HfHubHTTPError:
            answers.append(True)
        except Exception:  # noqa: BLE001  whatever goes wrong on the way (DNS, proxy, TLS), no answer came
            answers.append(False)
        else:
            answers.append(True)

    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_LIMIT_S)
    return bool(answers and answers[0])


def fetch(repo: str, names: Sequence[str]) -> Path:
    """The first of the files that the cache or the hub has.

    Raises WeightsUnavailable, where there is no network after at most 3 s.
    """
    if found := cached(repo, names):
        return found
    if not reachable(repo, names[0]):
        raise WeightsUnavailable(
            f"{repo} is not in the local cache and the model hub cannot be reached: download it where there is a "
            "network (hf download), copy the folder here and name it as local-dir:FOLDER, or use the bundled model"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    for name in names:
        try:
            return Path(hf_hub_download(repo, name))
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise WeightsUnavailable(f"{repo} is given out only to accounts that asked for it: set HF_TOKEN") from error
        except RepositoryNotFoundError as error:
            raise WeightsUnavailable(f"the hub has no repository {repo}, or not for this account") from error
        except Exception as error:  # a download breaks in many ways; to the caller it is one
            raise WeightsUnavailable(f"the download of {repo}/{name} broke off ({error}): try again") from error
    raise WeightsUnavailable(f"{repo} has none of {', '.join(names)}: it is no open_clip model")
