"""The reasons of close frames: the requirement that each cites asks for it."""

import re
from pathlib import Path

import neffos_asyncio
import neffos_protocol
from neffos_protocol.catalogue import requirements

REASONS = {
    "SEC-2: the payload is too large": "close a connection on which a payload over",
    "SEC-3: too much was sent before the handshake": "Before the handshake",
    "SEC-4: no handshake within the time for it": "no handshake request arrives within",
    "SEC-8: the peer does not read": "While a client does not read",
    "SEC-8: the peer reads too slowly": "While a client does not read",
    "TR-17: text that is not UTF-8": "text message is not UTF-8",
}
"""What this side says when it closes, and the words of the cited requirement that ask for it."""


def test_a_reason_cites_a_requirement_about_what_happened():
    source = "".join(
        path.read_text("utf-8")
        for package in (neffos_asyncio, neffos_protocol)
        for path in Path(package.__file__).parent.glob("*.py")
    )
    written = re.findall(r'(?<!")"([A-Z]+-[0-9]+): ([^"]+)"', source)
    written += re.findall(r'_end_at_limit\("([A-Z]+-[0-9]+)", "([^"]+)"', source)
    explained = r'explanation = "([^"]+)"\s+self._end_at_limit\("([A-Z]+-[0-9]+)", explanation'
    written += [(id_, text) for text, id_ in re.findall(explained, source)]
    found = {f"{id_}: {text}" for id_, text in written}
    assert found == set(REASONS)
    for reason, words in REASONS.items():
        assert words in " ".join(requirements()[reason.partition(":")[0]].text.split())
