"""`automations export` and `import`: as people keep what is theirs."""

import asyncio
import json
from pathlib import Path

from tests.serving.commands import here
from tests.serving.rights.conftest import HEAD, call, uploaded, url

__all__ = ["call", "url"]


def _settings(client) -> dict[str, str]:
    return {
        "AUTOMATIONS_CLIENT__SERVER": str(client.base_url),
        "AUTOMATIONS_CLIENT__KEY": client.headers["Authorization"].removeprefix("Bearer "),
    }


def test_a_locked_archive_goes_from_one_to_another(call, tmp_path, monkeypatch):
    # It is its owner's from the first moment, and not once it was made: whoever opened it before would read on.
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    passphrase, wrong, short = tmp_path / "passphrase", tmp_path / "wrong", tmp_path / "short"
    short.write_text("short\n")
    passphrase.write_text("a long passphrase\n")
    wrong.write_text("another passphrase\n")

    async def run(client, *args, code=0):
        done = await asyncio.to_thread(here, *args, **_settings(client))
        assert done.returncode == code, done.stderr
        return done

    async def body(api):
        await api.world.change("DELETE FROM video")
        video = (await uploaded(api.a, b"CANARY" * 30_000, title="CANARY"))["id"]
        await uploaded(api.a, b"other")
        out, one = tmp_path / "mine.locked", tmp_path / "one.tar"
        assert "fewer than 8" in (await run(api.a, "export", out, "--passphrase-file", short, code=2)).stderr
        # One of the two has to be said.
        assert "--plain" in (await run(api.a, "export", out, code=2)).stderr
        await run(api.a, "export", out, "--passphrase-file", passphrase)
        assert b"CANARY" not in out.read_bytes()
        assert out.stat().st_mode & 0o077 == 0
        assert "is there already" in (await run(api.a, "export", out, "--plain", code=2)).stderr
        said = await run(api.a, "export", one, "--video", video, "--plain")
        assert "NOT locked" in said.stdout
        assert HEAD + b"CANARY" in one.read_bytes()

        refused = await run(api.b, "import", out, "--passphrase-file", wrong, code=2)
        assert "another passphrase" in refused.stderr
        told = json.loads((await run(api.b, "import", one, "--json")).stdout)
        assert set(told["videos"]) == {video}
        told = json.loads((await run(api.b, "import", out, "--passphrase-file", passphrase, "--json")).stdout)
        assert (len(told["videos"]), set(told["there"])) == (1, {video})
        assert len((await api.b.get("/v1/videos")).json()["data"]) == 2

        content = bytearray(out.read_bytes())
        content[len(content) // 2] ^= 1
        changed = tmp_path / "changed"
        changed.write_bytes(content)
        refused = await run(api.b, "import", changed, "--passphrase-file", passphrase, code=2)
        assert "[altered]" in refused.stderr
        none = tmp_path / "none"
        none.write_bytes(b"no archive" * 100)
        assert "[archive_refused]" in (await run(api.b, "import", none, code=2)).stderr
        missing = await run(api.a, "export", tmp_path / "x", "--plain", "--video", "vid_" + "0" * 26, code=2)
        assert "[not_found]" in missing.stderr
        assert not list(tmp_path.glob("x*"))

    call(body)
