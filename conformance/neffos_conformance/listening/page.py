"""The page about a run that listens: what to dial, and the verdicts as they come.

The page asks for its data every second, and fetches nothing from elsewhere. The data is JSON; the
page's script writes it as text and never as HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

import segno
from markupsafe import Markup

from neffos_conformance.cases.verdict import SEVERITY
from neffos_conformance.listening.session import CASE_PATH, ListeningSession
from neffos_conformance.listening.undriven import APP
from neffos_conformance.recordings.page import asset, environment
from neffos_conformance.runner.result import Result
from neffos_protocol.catalogue import requirement
from neffos_protocol.text import visible

MAX_SHOWN: Final = 300
"""Characters of a text on the page, which a client may have written."""

QR_SCALE: Final = 4
"""Pixels of a module of the QR code: a telephone reads it from a desk's distance."""

Response = tuple[HTTPStatus, str, bytes, str]
"""The status, the type and the content of a response, and its content security policy."""

NO_POLICY: Final = "default-src 'none'"


@dataclass
class Page:
    """The page, at the address of the listener.

    Attributes:
        session: the run.
        host: the address by which clients reach it.
        port: the port.
        is_secure: whether it listens with TLS.
        is_watched: whether somebody has opened the page.
    """

    session: ListeningSession
    host: str
    port: int
    is_secure: bool = False
    is_watched: bool = False

    @property
    def dial_url(self) -> str:
        """The URL that a client dials."""
        return f"{'wss' if self.is_secure else 'ws'}://{self._authority}/"

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"{'https' if self.is_secure else 'http'}://{self._authority}/"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def get(self, path: str) -> Response:
        """Respond to a request that asks for no upgrade."""
        if path == "/":
            policy = (
                "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
                f"script-src 'sha256-{self._digest}'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            )
            return HTTPStatus.OK, "text/html; charset=utf-8", self._html, policy
        if path == "/state.json":
            self.is_watched = True
            text = json.dumps(self.state())
            return HTTPStatus.OK, "application/json", text.encode(), NO_POLICY
        return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not found\n", NO_POLICY

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(asset("listening.js").encode()).digest()
        return base64.b64encode(digest).decode()

    @cached_property
    def _html(self) -> bytes:
        template = environment().get_template("listening.html")
        return template.render(
            page=self,
            case_path=CASE_PATH,
            codes=[] if self.is_local else [_code(self.dial_url), _code(self.url)],
            style=Markup(asset("common.css") + asset("listening.css")),  # noqa: S704  # ours
            script=Markup(asset("listening.js")),  # noqa: S704  # ours
        ).encode()

    # ---- the data

    def state(self) -> dict[str, Any]:
        """Give what the page shows, for JSON."""
        session = self.session
        results = [*session.results.values(), *session.observed.found.values()]
        counts = Counter(each.verdict for each in results)
        needing = session.needing_driver
        done = sum(case.id in session.results for case in session.cases) - needing
        return {
            "notice": _shown(session.notice),
            "over": session.done.is_set(),
            "peer": _shown(session.peer),
            "namespace": _shown(session.profile.namespace(APP)) if session.parts else "",
            "done": done,
            "total": len(session.cases) - needing,
            "driver": needing,
            "counts": [[each.value, counts[each]] for each in SEVERITY if counts[each]],
            "cases": list(self._cases()),
        }

    def _cases(self) -> Iterator[dict[str, Any]]:
        session = self.session
        for case in session.cases:
            result = session.results.get(case.id)
            if case.id in session.running:
                status = "running"
            else:
                status = "waiting" if result is None else result.verdict.value
            yield {
                "id": case.id,
                "title": case.title,
                "status": status,
                "why": _why(result),
                "requirement": " ".join(requirement(case.requirements[0]).text.split()),
                "callable": session.can_run(case.id),
            }
        for result in session.observed.found.values():
            yield {
                "id": result.case.id,
                "title": result.case.title,
                "status": result.verdict.value,
                "why": _why(result),
                "requirement": " ".join(requirement(result.case.requirements[0]).text.split()),
                "callable": False,
            }


def _why(result: Result | None) -> str:
    if result is None or not result.is_broken:
        return _shown(result.explanation) if result else ""
    step = f", in step {result.step}: {result.expected}" if result.expected else ""
    return _shown(result.explanation + step)


def _shown(text: str) -> str:
    return visible(text, limit=MAX_SHOWN)


def _code(url: str) -> Markup:
    code = segno.make(url, micro=False)
    svg = code.svg_inline(scale=QR_SCALE, dark="#000", light="#fff", omitsize=True)
    return Markup(svg)  # noqa: S704  # of our own address
