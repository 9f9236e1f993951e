"""A SuperLink that runs already: whether it answers, and what time it is there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from app.doctor.finding import Finding
from models.errors import one_line

MOST_SECONDS_APART = 30.0


def connection_file() -> Path:
    """Return where Flower keeps the names of SuperLinks."""
    return Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr") / "config.toml"


def check_connection(name: str) -> Iterator[Finding]:
    """Ask a SuperLink whether it is well, by the name that ``flwr run`` knows it by."""
    about = f"SuperLink '{name}'"
    try:
        entry = _entry(name)
    except (OSError, ValueError) as error:  # TOML's error is one
        found = f"{connection_file()} cannot be read: {one_line(str(error))}"
        yield Finding("problem", about, found, "mend that file; flwr reads it too")
        return
    if entry is None:
        yield Finding(
            "problem",
            about,
            f"{connection_file()} has no [superlink.{name}]",
            f"add it: [superlink.{name}] with address = 'HOST:8000' and root-certificates or "
            "insecure = true",
        )
        return
    address = str(entry.get("address") or "")
    certificates = str(entry.get("root-certificates") or "")
    if not address or address.startswith(":"):
        yield Finding("good", about, "Flower's local SuperLink, started when a run needs it")
        return
    if certificates and not Path(certificates).is_absolute():
        yield Finding(
            "problem",
            about,
            f"root-certificates '{certificates}' is not absolute, and flwr refuses it",
            "write the whole path, from / on",
        )
        return
    if certificates and not Path(certificates).is_file():
        yield Finding(
            "problem",
            about,
            f"root-certificates '{certificates}' does not exist",
            "copy the CA certificate of the SuperLink there",
        )
        return
    secure = not entry.get("insecure")
    url = f"{'https' if secure else 'http'}://{address}/health"
    verify = certificates or True
    try:
        answer = httpx.get(url, timeout=10.0, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        yield Finding(
            "problem",
            about,
            f"{address} does not answer ({type(error).__name__}: {error})",
            "start flower-superlink there; open its port; with TLS, give root-certificates of the "
            "CA that signed it",
        )
        return
    if not answer.is_success:
        found = f"{address} answers {answer.status_code}"
        yield Finding("problem", about, found, "look into the SuperLink's log")
        return
    yield Finding("good", about, f"{address} answers{'' if secure else ', without TLS'}")
    yield from check_clock(about, answer.headers.get("date"), datetime.now(UTC))


def check_clock(about: str, said: str | None, now: datetime) -> Iterator[Finding]:
    """Compare a clock with ours; messages carry times, and run out by them.

    Parameters
    ----------
    about : str
        Whose it is.
    said : str or None
        An HTTP date; None where nothing was said.
    now : datetime
        With a time zone.
    """
    if said is None:
        return
    apart = (parsedate_to_datetime(said) - now).total_seconds()
    if abs(apart) > MOST_SECONDS_APART:
        found = f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours"
        remedy = "keep all machines' clocks right (NTP, chrony): messages run out by them"
        yield Finding("problem", f"{about}: clock", found, remedy)
    else:
        yield Finding("good", f"{about}: clock", f"within {MOST_SECONDS_APART:.0f} s of ours")


def _entry(name: str) -> Mapping[str, object] | None:
    try:
        told = tomllib.loads(connection_file().read_text("utf-8"))
    except FileNotFoundError:
        return None
    links = told.get("superlink")
    entry = links.get(name) if isinstance(links, dict) else None
    return entry if isinstance(entry, dict) else None
