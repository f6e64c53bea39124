"""The demo's own judgement: it must notice when something it claims does not hold."""

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from bakehouse.cli.demo.command import _launcher
from bakehouse.cli.demo.login import Identity
from bakehouse.cli.demo.site import SiteWatcher, make_site
from bakehouse.cli.demo.steps import DemoFailed, Steps, require
from bakehouse.host.diagnosis import NEEDS, Need, Status, diagnose
from bakehouse.settings import Settings


@contextmanager
def serving(pages: list[bytes | None]) -> Iterator[int]:
    """Serve each page once, the last one for ever; None is answered with status 503. Yields the port."""
    rest = list(pages)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = rest.pop(0) if len(rest) > 1 else rest[0]
            self.send_response(200 if page is not None else 503)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def watch(pages: list[bytes | None], *, until: int) -> tuple[int, list[str]]:
    with serving(pages) as port, SiteWatcher("127.0.0.1", b"page", port=port) as seen:
        waiting = threading.Event()
        while seen.answers + len(seen.failures) < until:
            waiting.wait(0.01)
    return seen.answers, seen.failures


def test_a_site_that_always_answers_has_no_failures() -> None:
    answers, failures = watch([b"page"], until=3)
    assert answers >= 3
    assert failures == []


def test_one_refused_answer_among_good_ones_is_a_failure() -> None:
    _, failures = watch([b"page", None, b"page"], until=4)
    assert len(failures) == 1
    assert "503" in failures[0]


def test_another_page_than_expected_is_a_failure() -> None:
    _, failures = watch([b"page", b"Apache2 default page", b"page"], until=4)
    assert failures == ["another page was served"]


def test_two_sites_are_never_equal_and_travel_whole_in_their_archive() -> None:
    site = make_site()
    assert site != make_site()
    with tarfile.open(fileobj=io.BytesIO(site.archive())) as archive:
        unpacked = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert unpacked == site.files


def test_whatever_two_machines_share_is_named() -> None:
    one = Identity(instance_id="i-1", private_address="10.0.0.1", hostname="a", machine_id="m", host_keys="k")
    other = Identity(instance_id="i-2", private_address="10.0.0.2", hostname="b", machine_id="m", host_keys="l")
    assert one.shared_with(other) == ["machine_id"]


def test_a_failed_step_says_so_and_the_error_goes_on() -> None:
    text = io.StringIO()
    steps = Steps(Console(file=text, width=120))
    with pytest.raises(DemoFailed, match="the site answers"), steps.step("A site [with brackets]"):
        require(False, "the site answers")
    assert "A site [with brackets]" in text.getvalue()
    assert "failed" in text.getvalue()


def test_a_missing_package_is_an_error_whose_remedy_installs_exactly_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    import bakehouse.host.diagnosis as diagnosis

    def only_slirp_is_missing(need: Need) -> bool:
        return need.package != "slirp4netns"

    monkeypatch.setattr(diagnosis, "_is_there", only_slirp_is_missing)
    (finding,) = diagnosis._check_packages(is_root=True)
    assert finding.status is Status.ERROR
    assert finding.remedy.endswith("install --no-install-recommends slirp4netns")


@pytest.mark.programs
def test_a_diagnosis_looks_at_everything_and_leaves_no_fault_without_a_remedy(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    findings = diagnose(Settings(state_root=tmp_path_factory.mktemp("state") / "not-yet-there"))
    assert len({finding.check for finding in findings}) >= 10
    assert all(finding.remedy for finding in findings if finding.status is not Status.OK)
    assert len({need.package for need in NEEDS}) == len(NEEDS)


def test_it_names_what_its_user_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / ".venv" / "bin" / "bakehouse"
    assert _launcher(own) == str(own), "an environment that is no checkout's"
    (tmp_path / "bakehouse").touch()
    assert _launcher(own) == str(tmp_path / "bakehouse")
    monkeypatch.chdir(tmp_path)
    assert _launcher(own) == "./bakehouse"
    assert _launcher(Path("/bin/bakehouse")) == "/bin/bakehouse"
