"""What of a host's apt configuration goes into an image."""

from pathlib import Path

from bakehouse.guest.base_image.apt_configuration import read_host_configuration

DEBIAN_SOURCES = """\
Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_mirror_is_kept_and_the_suites_are_moved_to_the_images_release(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list.d/debian.sources", DEBIAN_SOURCES)
    sources = read_host_configuration("trixie", root=tmp_path).sources
    assert "URIs: http://mirror.example/debian\n" in sources
    assert "Suites: trixie trixie-updates\n" in sources
    assert "Suites: trixie-security\n" in sources
    assert "bookworm" not in sources
    assert "deb-src" not in sources


def test_a_one_line_source_keeps_its_options(tmp_path: Path) -> None:
    line = (
        "deb [arch=amd64 check-valid-until=no signed-by=/etc/apt/keyrings/own.gpg] https://m.example/d bookworm main\n"
    )
    write(tmp_path, "etc/apt/sources.list", line)
    write(tmp_path, "etc/apt/keyrings/own.gpg", "key")
    found = read_host_configuration("trixie", root=tmp_path)
    assert "Check-Valid-Until: no" in found.sources
    assert "Signed-By: /etc/apt/keyrings/own.gpg" in found.sources
    assert found.files[Path("/etc/apt/keyrings/own.gpg")] == b"key"


def test_other_vendors_repositories_stay_on_the_host(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list.d/debian.sources", DEBIAN_SOURCES)
    write(tmp_path, "etc/apt/sources.list.d/docker.list", "deb https://d.example/linux/debian bookworm stable\n")
    write(tmp_path, "etc/apt/sources.list.d/pgdg.list", "deb https://p.example/apt bookworm-pgdg main\n")
    write(tmp_path, "etc/apt/sources.list.d/old.list.disabled", "deb http://old.example/debian bookworm main\n")
    found = read_host_configuration("trixie", root=tmp_path)
    assert "d.example" not in found.sources
    assert "p.example" not in found.sources
    assert "old.example" not in found.sources
    assert len(found.left_out) == 2


def test_a_disabled_stanza_is_not_used(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list.d/debian.sources", "Enabled: no\n" + DEBIAN_SOURCES)
    assert "Suites: trixie trixie-updates" not in read_host_configuration("trixie", root=tmp_path).sources


def test_a_host_without_debian_sources_gets_debians_own(tmp_path: Path) -> None:
    found = read_host_configuration("trixie", root=tmp_path)
    assert "http://deb.debian.org/debian\n" in found.sources
    assert found.left_out


def test_a_password_never_leaves_the_host(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list", "deb http://joe:secret@m.example/debian bookworm main\n")
    write(tmp_path, "etc/apt/apt.conf.d/90proxy", 'Acquire::http::Proxy "http://joe:secret@proxy.example:3128";\n')
    write(tmp_path, "etc/apt/auth.conf.d/m.conf", "machine m.example login joe password secret\n")
    found = read_host_configuration("trixie", root=tmp_path)
    assert "secret" not in found.sources
    assert all(b"secret" not in content for content in found.files.values())
    assert len(found.left_out) >= 2


def test_a_proxy_and_time_checks_go_along_but_containers_rules_and_hooks_do_not(tmp_path: Path) -> None:
    directory = "etc/apt/apt.conf.d/"
    write(tmp_path, directory + "90proxy", 'Acquire::http::Proxy "http://proxy.example:3128";\n')
    write(tmp_path, directory + "91dates", 'Acquire::Check-Valid-Until "false";\n')
    write(tmp_path, directory + "docker-gzip-indexes", 'Acquire::GzipIndexes "true";\n')
    write(tmp_path, directory + "docker-clean", 'Dir::Cache::pkgcache "";\n')
    write(tmp_path, directory + "70debconf", 'DPkg::Pre-Install-Pkgs {"/usr/sbin/dpkg-preconfigure";};\n')
    write(tmp_path, directory + "92hook", 'Acquire::Retries "3";\nAPT::Update::Post-Invoke {"/bin/true";};\n')
    write(tmp_path, directory + "93note", '// Acquire is only mentioned\nAPT::Get::Assume-Yes "no";\n')
    names = {path.name for path in read_host_configuration("trixie", root=tmp_path).files}
    assert names == {"90proxy", "91dates"}


def test_only_pins_about_what_the_image_has_are_taken_over(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list.d/debian.sources", DEBIAN_SOURCES)
    directory = "etc/apt/preferences.d/"
    write(tmp_path, directory + "mirror", "Package: *\nPin: origin mirror.example\nPin-Priority: 900\n")
    write(tmp_path, directory + "nodejs", "Package: nodejs\nPin: origin deb.node.example\nPin-Priority: 600\n")
    write(tmp_path, directory + "release", "Package: *\nPin: release n=bookworm\nPin-Priority: 600\n")
    names = {path.name for path in read_host_configuration("trixie", root=tmp_path).files}
    assert names == {"mirror"}
