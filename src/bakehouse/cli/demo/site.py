"""The demo's web site: its files, how it is fetched, and a watcher that asks for it again and again."""

import http.client
import io
import secrets
import tarfile
import threading
import time
from dataclasses import dataclass, field

from bakehouse.cli.demo.steps import DemoFailed

_TIMEOUT_S = 10.0
_WATCH_INTERVAL_S = 0.1
_PICTURE_BYTES = 300_000


@dataclass(frozen=True, kw_only=True)
class Site:
    """Paths below / and their bytes; some are random, so that no other site can pass for this one."""

    files: dict[str, bytes]

    def archive(self) -> bytes:
        """Return the files as a tar archive."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in self.files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def make_site() -> Site:
    """Return a new site: a page and some 300 kB that compress to nothing less."""
    page = f"""<!doctype html>
<html lang="en">
<title>Fresh from the bakehouse</title>
<h1>Fresh from the bakehouse</h1>
<p>Baked once, served from every loaf: {secrets.token_hex(16)}</p>
<p><a href="crumbs.bin">crumbs</a></p>
</html>
"""
    return Site(files={"index.html": page.encode(), "crumbs.bin": secrets.token_bytes(_PICTURE_BYTES)})


def fetch(address: str, path: str = "index.html", *, port: int = 80) -> bytes:
    """GET http://ADDRESS/PATH, directly; OSError or http.client.HTTPException when that fails."""
    connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"http://{address}/{path} answered {response.status}")
    return body


def wait_for_site(address: str, site: Site, *, timeout_s: float) -> None:
    """Wait until every file is served byte for byte; DemoFailed when it differs or is not there in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            served = {path: fetch(address, path) for path in site.files}
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise DemoFailed(f"http://{address}/ does not answer: {error}") from error
            time.sleep(0.5)
            continue
        for path, content in site.files.items():
            if served[path] != content:
                raise DemoFailed(f"http://{address}/{path} is not byte for byte what was put there")
        return


@dataclass(kw_only=True)
class Watch:
    """What a watcher saw."""

    answers: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


class SiteWatcher:
    """Asks for the page over and over, in a thread, for the length of a ``with`` block."""

    def __init__(self, address: str, expected: bytes, *, port: int = 80) -> None:
        self.seen = Watch()
        self._port = port
        self._address = address
        self._expected = expected
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="site-watcher", daemon=True)

    def __enter__(self) -> Watch:
        """Start asking."""
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        """Let the last question be answered, and stop."""
        self._end.set()
        self._thread.join(timeout=2 * _TIMEOUT_S)

    def _watch(self) -> None:
        while not self._end.wait(_WATCH_INTERVAL_S):
            began = time.monotonic()
            try:
                if fetch(self._address, port=self._port) != self._expected:
                    self.seen.failures.append("another page was served")
                self.seen.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen.failures.append(f"{type(error).__name__}: {error}")
            self.seen.slowest_s = max(self.seen.slowest_s, time.monotonic() - began)
