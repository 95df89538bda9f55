"""TLS in captures: conversations of Python's own TLS, read with the keys that it wrote down."""

import ssl
import struct
import sys
from random import Random

import pytest
import trustme
from scapy.layers.inet import TCP
from scapy.utils import PcapNgWriter
from websockets.frames import Frame, Opcode

from neffos_conformance.recordings import tls
from neffos_conformance.recordings.capture import MISSING, UNDECRYPTED
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.shares import Reading
from neffos_conformance.wire.transcript import read_transcript

from .commands import run
from .test_capture import REQUEST, RESPONSE, contents, conversation, saved
from .test_check import EARLY, VISIT

CIPHERS = {
    "1.3": (ssl.TLSVersion.TLSv1_3, None),
    "AES-GCM": (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    "ChaCha20": (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    "AES-CBC": (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384"),
}


class Talk:
    """A client and a server that talk TLS in memory; everything on the wire is kept.

    Attributes:
        wire: whether the client sent it, and the bytes.
    """

    def __init__(self, keylog, authority, version, ciphers):
        client = ssl.create_default_context()
        authority.configure_trust(client)
        client.keylog_filename = str(keylog)
        client.minimum_version = client.maximum_version = version
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("h.example").configure_cert(server)
        if ciphers:
            client.set_ciphers(ciphers)
        self.wire = []
        self._inputs = {side: ssl.MemoryBIO() for side in (True, False)}
        self._outputs = {side: ssl.MemoryBIO() for side in (True, False)}
        self._peers = {
            True: client.wrap_bio(self._inputs[True], self._outputs[True], False, "h.example"),
            False: server.wrap_bio(self._inputs[False], self._outputs[False], True),
        }
        waiting = [True, False]
        while waiting:
            side = waiting.pop(0)
            try:
                self._peers[side].do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(side)
            self._pass_on(side)

    def _pass_on(self, side):
        if data := self._outputs[side].read():
            self.wire.append((side, data))
            self._inputs[not side].write(data)

    def send(self, side, data):
        self._peers[side].write(data)
        self._pass_on(side)
        assert self._peers[not side].read(len(data)) == data


def encrypted(tmp_path, name="1.3", said=(*VISIT, EARLY), authority=None):
    """Give the packets of a conversation with TLS, and write its keys."""
    version, ciphers = CIPHERS[name]
    talk = Talk(tmp_path / "keys", authority or trustme.CA(), version, ciphers)
    talk.send(True, REQUEST.encode())
    talk.send(False, f"{RESPONSE}\r\n".encode())
    for side, text in said:
        talk.send(side, Frame(Opcode.TEXT, text.encode()).serialize(mask=side))
    plain = conversation(closes=False)[:2]  # the two SYN
    return plain + segments(talk.wire)


def segments(wire):
    """Give bytes as packets, after the SYNs."""
    [*_, request, response] = conversation(closes=False)
    sequence = {True: request[TCP].seq, False: response[TCP].seq}
    found = []
    for side, data in wire:
        packet = (request if side else response).copy()
        packet[TCP].seq, packet[TCP].ack = sequence[side] & 0xFFFFFFFF, sequence[not side]
        packet[TCP].ack &= 0xFFFFFFFF
        packet[TCP].payload = type(request[TCP].payload)(data)
        found.append(packet)
        sequence[side] += len(data)
    return found


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.mark.parametrize("name", CIPHERS)
def test_what_is_inside_tls_is_checked_with_the_keys(tmp_path, authority, name):
    path = saved(encrypted(tmp_path, name, authority=authority), tmp_path / "a.pcap")
    report = check(path, reading=Reading(keylog=tmp_path / "keys"))
    assert report.messages == len(VISIT) + 1
    assert [each.requirement for each in report.violations] == ["NS-11"]
    assert not report.all_notes


def test_the_commands_take_the_key_log(tmp_path, authority):
    saved(encrypted(tmp_path, authority=authority), tmp_path / "a.pcap")
    done = run("check", tmp_path / "a.pcap", "--keylog", tmp_path / "keys")
    assert done.returncode == 1
    assert b"connection 1: the client violated NS-11" in done.stdout
    done = run("import", tmp_path / "a.pcap", "--keylog", tmp_path / "keys", "-o", tmp_path)
    assert done.returncode == 0
    found = contents(read_transcript(tmp_path / "a-1.jsonl").entries)
    assert found == [*VISIT, EARLY]
    done = run("check", tmp_path / "a.pcap", "--keylog", tmp_path / "none")
    assert done.returncode == 2
    assert b"none cannot be read" in done.stderr


def test_keys_in_the_capture_itself_are_used(tmp_path, authority):
    path = saved(encrypted(tmp_path, authority=authority), tmp_path / "a.pcapng", PcapNgWriter)
    data, keys = path.read_bytes(), (tmp_path / "keys").read_bytes()
    (head,) = struct.unpack("<I", data[4:8])
    filled = keys + bytes(-len(keys) % 4)
    size = len(filled) + 20
    block = struct.pack("<IIII", 10, size, 0x544C534B, len(keys)) + filled + struct.pack("<I", size)
    path.write_bytes(data[:head] + block + data[head:])
    assert check(path).counts == {("NS-11", "client"): 1}


def test_without_its_keys_a_connection_is_counted_and_nobody_accused(tmp_path, authority):
    path = saved(encrypted(tmp_path, authority=authority), tmp_path / "a.pcap")
    assert check(path).all_notes == [
        "1 TCP connections were not read: they use TLS, and there are no keys. "
        "Try: --keylog FILE, or neffos-wire record"
    ]
    other = tmp_path / "other"
    other.write_text(f"# a comment\n\nCLIENT_RANDOM {'00' * 32} {'11' * 48}\nCLIENT_RANDOM x y\n")
    report = check(path, reading=Reading(keylog=other))
    assert (report.messages, report.all_notes) == (
        0,
        ["1 TCP connections were not read: they use TLS, and the key log does not have their keys"],
    )


def test_missing_and_damaged_packets_end_a_connection_as_unknown(tmp_path, authority):
    packets = encrypted(tmp_path, authority=authority)
    reading = Reading(keylog=tmp_path / "keys")
    lost = check(saved(packets[:-2] + packets[-1:], tmp_path / "a.pcap"), reading=reading)
    assert (lost.notes, lost.violations) == ([f"connection 1: {MISSING}"], [])
    data = bytearray(bytes(packets[-2][TCP].payload))
    data[-1] ^= 1
    packets[-2][TCP].payload = type(packets[-2][TCP].payload)(bytes(data))
    damaged = check(saved(packets, tmp_path / "a.pcap"), reading=reading)
    assert (damaged.notes, damaged.violations) == ([f"connection 1: {UNDECRYPTED}"], [])


@pytest.mark.parametrize("seed", range(8))
def test_bytes_that_are_not_tls_are_refused(tmp_path, authority, seed):
    version, ciphers = CIPHERS["1.3"]
    talk = Talk(tmp_path / "keys", authority, version, ciphers)
    random = Random(seed)
    read = tls.Tls(tls.read_keys(tmp_path / "keys"))
    for side, data in talk.wire:
        broken = bytearray(data)
        broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
        try:
            read.feed(side, bytes(broken))
        except tls.TlsError:
            break


def test_a_missing_package_is_named(tmp_path, authority, monkeypatch):
    path = saved(encrypted(tmp_path, authority=authority), tmp_path / "a.pcap")
    tls._library.cache_clear()
    monkeypatch.setitem(sys.modules, "tlslite.recordlayer", None)
    done = run("check", path, "--keylog", tmp_path / "keys")
    tls._library.cache_clear()
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[captures]'" in done.stderr
