"""The host's apt configuration, as far as it tells where Debian comes from: for the build and for the guests.

Taken over: sources of Debian's own archive (or a mirror of it), with their suites moved to the image's
release; the keys they name; apt.conf files that set ``Acquire`` options (proxies, time checks, certificates);
preferences about those sources. Left out: other vendors' repositories, containers' clean-up rules, hooks.

Invariant: nothing secret leaves the host; a file that holds a password or names a private key stays there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_DEBIAN_COMPONENTS = {"main", "contrib", "non-free", "non-free-firmware"}
# "bookworm", "stable", "bookworm-updates", "bookworm-security", also bullseye's and older "buster/updates".
_DEBIAN_SUITE = re.compile(r"(?P<base>[a-z]+)(?P<branch>-updates|-security|/updates|-backports)?\Z")
_DEBIAN_BASES = {"stable", "oldstable", "oldoldstable", "buster", "bullseye", "bookworm", "trixie", "forky"}
_SECRET = re.compile(r"://[^/\s\"']*@|SslKey", re.IGNORECASE)
_HOOK = re.compile(r"\b(?:DPkg|Dir|Unattended-Upgrade)\s*(?:::|\{)|(?:Pre|Post)-In(?:voke|stall)", re.IGNORECASE)
_ONE_LINE = re.compile(r"(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)")
_KEY_BLOCK = "-----BEGIN PGP"
_OPTION_FIELDS = {
    "signed-by": "Signed-By",
    "trusted": "Trusted",
    "check-valid-until": "Check-Valid-Until",
    "check-date": "Check-Date",
    "allow-insecure": "Allow-Insecure",
    "allow-weak": "Allow-Weak",
    "by-hash": "By-Hash",
    "pdiffs": "PDiffs",
    "languages": "Languages",
}
_KEPT_FIELDS = {name.lower(): name for name in _OPTION_FIELDS.values()}


@dataclass(frozen=True, kw_only=True)
class AptConfiguration:
    """Files for the image (absolute path there -> content) and what was left out, for the log."""

    sources: str
    files: Mapping[Path, bytes]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One stanza of deb822 sources: binary packages of a Debian mirror."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> str:
        """The stanza's text."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            *(f"{name}: {value}" for name, value in self.options.items()),
        ]
        return "\n".join(lines) + "\n"


def read_host_configuration(release: str, *, root: Path = Path("/")) -> AptConfiguration:
    """What the apt configuration under ``root`` means for an image of ``release`` (a codename)."""
    left_out: list[str] = []
    sources = _unique(_moved(source, release) for source in _host_sources(root, left_out))
    if not sources:
        sources = _official_sources(release)
        left_out.append("no source of Debian's own archive found: deb.debian.org is used")
    files = {
        **_key_files(sources, root),
        **_option_files(root, left_out),
        **_preference_files(root, sources, release, left_out),
    }
    return AptConfiguration(
        sources="\n".join(source.render() for source in sources), files=files, left_out=tuple(left_out)
    )


def _official_sources(release: str) -> list[_Source]:
    signed = {"Signed-By": str(KEYRING)}
    return [
        _Source(
            uris=("http://deb.debian.org/debian",),
            suites=(release, f"{release}-updates"),
            components=("main",),
            options=signed,
        ),
        _Source(
            uris=("http://deb.debian.org/debian-security",),
            suites=(f"{release}-security",),
            components=("main",),
            options=signed,
        ),
    ]


def _unique(sources: Iterable[_Source]) -> list[_Source]:
    kept: list[_Source] = []
    for source in sources:
        if source not in kept:
            kept.append(source)
    return kept


def _host_sources(root: Path, left_out: list[str]) -> Iterator[_Source]:
    """Debian sources of sources.list and sources.list.d, in apt's own order."""
    apt = root / "etc/apt"
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found = _read_one_line(text) if path.suffix == ".list" else _read_deb822(text)
        for source in found:
            if _SECRET.search(" ".join(source.uris)):
                left_out.append(f"{path}: a source with a password in its address")
            elif _is_debian(source):
                yield source
            else:
                left_out.append(f"{path}: {' '.join(source.uris)} is not Debian's archive")


def _read_one_line(text: str) -> Iterator[_Source]:
    for line in text.splitlines():
        if not (match := _ONE_LINE.match(line.split("#", 1)[0].strip())) or match["type"] != "deb":
            continue
        suite, *components = match["rest"].split()
        options = dict(word.split("=", 1) for word in (match["options"] or "").split() if "=" in word)
        yield _Source(
            uris=(match["uri"],),
            suites=(suite,),
            components=tuple(components),
            options={_OPTION_FIELDS[name]: text for name, text in options.items() if name in _OPTION_FIELDS},
        )


def _read_deb822(text: str) -> Iterator[_Source]:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields = _deb822_fields(stanza)
        is_enabled = fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off")
        if not is_enabled or "deb" not in fields.get("types", "").split():
            continue
        yield _Source(
            uris=tuple(fields.get("uris", "").split()),
            suites=tuple(fields.get("suites", "").split()),
            components=tuple(fields.get("components", "").split()),
            options={name: fields[low] for low, name in _KEPT_FIELDS.items() if low in fields},
        )


def _deb822_fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _is_debian(source: _Source) -> bool:
    suites = [_DEBIAN_SUITE.match(suite) for suite in source.suites]
    return (
        bool(suites)
        and all(match is not None and match["base"] in _DEBIAN_BASES for match in suites)
        and "main" in source.components
        and set(source.components) <= _DEBIAN_COMPONENTS
    )


def _moved(source: _Source, release: str) -> _Source:
    """The same source for another release; releases before 12 had no non-free-firmware, all ours have."""
    suites: list[str] = []
    for suite in source.suites:
        match = _DEBIAN_SUITE.match(suite)
        branch = (match["branch"] if match else None) or ""
        moved = release + ("-security" if branch == "/updates" else branch)
        if moved not in suites:
            suites.append(moved)
    options = dict(source.options)
    if not {"Signed-By", "Trusted"} & options.keys():
        options["Signed-By"] = str(KEYRING)
    return _Source(uris=source.uris, suites=tuple(suites), components=source.components, options=options)


def _key_files(sources: Iterable[_Source], root: Path) -> dict[Path, bytes]:
    """Keys of mirrors that sign for themselves; Debian's own come with debian-archive-keyring."""
    files: dict[Path, bytes] = {}
    for source in sources:
        signed_by = source.options.get("Signed-By", "")
        if _KEY_BLOCK in signed_by:
            continue
        for name in signed_by.replace(",", " ").split():
            path = Path(name)
            on_host = root / name.lstrip("/")
            if path.is_absolute() and "debian-archive" not in path.name and on_host.is_file():
                files[path] = on_host.read_bytes()
    return files


def _option_files(root: Path, left_out: list[str]) -> dict[Path, bytes]:
    """apt.conf files that only say how to reach an archive."""
    files: dict[Path, bytes] = {}
    apt = root / "etc/apt"
    for path in (apt / "apt.conf", *sorted(apt.glob("apt.conf.d/*"))):
        if not path.is_file() or path.name.endswith(("~", ".bak")) or ".dpkg-" in path.name:
            continue
        content = path.read_bytes()
        settings = _without_comments(content.decode(errors="replace"))
        if reason := _why_not_taken(path.name, settings):
            if reason != "nothing about archives":
                left_out.append(f"{path}: {reason}")
            continue
        files[Path("/") / path.relative_to(root)] = content
        files.update(_certificate_files(settings, root))
    return files


def _without_comments(text: str) -> str:
    lines = (re.sub(r"(?<!:)//.*|^\s*#(?!clear|include).*", "", line) for line in text.splitlines())
    return re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)


def _why_not_taken(name: str, settings: str) -> str:
    if not re.search(r"\bAcquire\b", settings, re.IGNORECASE):
        return "nothing about archives"
    if name.startswith("docker-"):
        return "made for containers"
    if _SECRET.search(settings):
        return "holds a password or names a private key"
    if _HOOK.search(settings):
        return "changes directories or runs programs"
    if re.search(r"IndexTargets", settings, re.IGNORECASE) and "KeepCompressedAs" in settings:
        return "belongs to a desktop package"
    return ""


def _certificate_files(settings: str, root: Path) -> dict[Path, bytes]:
    """Certificate authorities that an https mirror or proxy of the host needs."""
    files: dict[Path, bytes] = {}
    for name in re.findall(r"CaInfo\s+\"(/[^\"]+)\"", settings, re.IGNORECASE):
        on_host = root / name.lstrip("/")
        if on_host.is_file() and not name.startswith("/etc/ssl/certs/"):
            files[Path(name)] = on_host.read_bytes()
    return files


def _preference_files(root: Path, sources: Iterable[_Source], release: str, left_out: list[str]) -> dict[Path, bytes]:
    """Preferences whose pins are about the image's own sources and release."""
    hosts = {urlsplit(uri).hostname or "" for source in sources for uri in source.uris}
    files: dict[Path, bytes] = {}
    apt = root / "etc/apt"
    for path in (apt / "preferences", *sorted(apt.glob("preferences.d/*"))):
        if not path.is_file() or path.suffix not in ("", ".pref"):
            continue
        content = path.read_bytes()
        pins = re.findall(r"^Pin:\s*(.+)$", content.decode(errors="replace"), re.MULTILINE)
        if pins and all(_pin_applies(pin.strip(), hosts, release) for pin in pins):
            files[Path("/") / path.relative_to(root)] = content
        elif pins:
            left_out.append(f"{path}: pins something the image does not have")
    return files


def _pin_applies(pin: str, hosts: set[str], release: str) -> bool:
    kind, _, value = pin.partition(" ")
    if kind == "origin":
        return value.strip().strip('"') in hosts
    if kind == "release":
        named = re.findall(r"\b[na]=([a-z]+)", value)
        return all(name == release for name in named)
    return kind == "version"
