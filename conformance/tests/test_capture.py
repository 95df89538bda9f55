"""Captures of packets: conversations written as packets, and read as they were said."""

import gzip
import struct
import sys
from itertools import count
from random import Random

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback
from scapy.packet import Padding
from scapy.utils import PcapNgWriter, PcapWriter
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings import capture
from neffos_conformance.recordings.capture import MALFORMED, MISSING, Capture
from neffos_conformance.recordings.checking import check
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, read_transcript

from .commands import run
from .test_check import EARLY, VISIT

LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # otherwise it is asked for
REQUEST = (
    "GET /chat?token=secret HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nCookie: secret\r\n\r\n"
)
RESPONSE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def conversation(*said, port=40_000, version=4, deflate=False, fragments=1, closes=True, size=9000):
    """Give the packets of a connection: each message, and each acknowledged by the next packet."""
    ip = IP if version == 4 else IPv6
    hosts = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
    sequence = {True: 0xFFFFFF00, False: 7}  # one of them overflows
    ports = {True: (port, 80), False: (80, port)}
    found = []

    def send(from_client, data=b"", flags="PA"):
        source, target = hosts if from_client else hosts[::-1]
        sport, dport = ports[from_client]
        for at in range(0, max(len(data), 1), size):
            part = data[at : at + size]
            tcp = TCP(
                sport=sport,
                dport=dport,
                seq=sequence[from_client] & 0xFFFFFFFF,
                ack=sequence[not from_client] & 0xFFFFFFFF if flags != "S" else 0,
                flags=flags,
            )
            found.append(
                Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
                / ip(src=source, dst=target)
                / tcp
                / part
            )
            sequence[from_client] += len(part) + ("S" in flags or "F" in flags)

    send(True, flags="S")
    send(False, flags="SA")
    send(True, REQUEST.encode())
    send(False, f"{RESPONSE}{DEFLATE if deflate else ''}\r\n".encode())
    squeezing = {side: PerMessageDeflate(False, False, 15, 15) for side in (True, False)}
    for from_client, text in said:
        data = text.encode() if isinstance(text, str) else text
        opcode = Opcode.TEXT if isinstance(text, str) else Opcode.BINARY
        step = -(-len(data) // fragments) or 1
        starts = range(0, max(len(data), 1), step)
        for at in starts:
            frame = Frame(opcode if not at else Opcode.CONT, data[at : at + step], at == starts[-1])
            extensions = [squeezing[from_client]] if deflate else []
            send(from_client, frame.serialize(mask=from_client, extensions=extensions))
    if closes:
        frame = Frame(Opcode.CLOSE, struct.pack("!H", 1000))
        send(True, frame.serialize(mask=True))
        send(False, frame.serialize(mask=False))
        send(False, flags="FA")
    return found


def saved(packets, path, writer=PcapWriter):
    times = count()
    with writer(str(path)) as stream:
        for each in packets:
            each.time = 1_795_648_004 + next(times) / 100
            stream.write(each)
    return path


def items(packets, tmp_path, **options):
    with saved(packets, tmp_path / "saved.pcap").open("rb") as stream:
        _, *found = Capture(stream, "saved.pcap", **options).items()
    return found


def contents(found):
    return [
        (each.from_client, each.content)
        for each in found
        if isinstance(each, Entry) and not isinstance(each.content, ConnectionOpened)
    ]


END = (True, ConnectionClosed(1000))
SAID = [*VISIT, (False, ";app;;chat;0;1;" + "é" * 300), (True, b"$2;app;;x;0;0;\xff")]


@pytest.mark.parametrize("options", [{}, {"version": 6}, {"deflate": True}, {"size": 5}], ids=str)
@pytest.mark.parametrize("fragments", [1, 3])
def test_the_messages_are_those_that_were_sent(tmp_path, options, fragments):
    found = items(conversation(*SAID, fragments=fragments, **options), tmp_path)
    assert found[0].content == ConnectionOpened("/chat?token=***", {})
    assert contents(found) == [*SAID, END]


@pytest.mark.parametrize(
    "link",
    [
        lambda packet: LINK / Dot1Q(vlan=7) / packet / Padding(bytes(8)),
        lambda packet: CookedLinux() / packet,
        lambda packet: CookedLinuxV2() / packet,
        lambda packet: packet,
        lambda packet: Loopback() / packet,
    ],
    ids=["VLAN", "any", "any, second version", "IP alone", "loopback"],
)
@pytest.mark.parametrize("version", [4, 6])
def test_packets_are_found_on_each_link(tmp_path, link, version):
    packets = [link(each[Ether].payload.copy()) for each in conversation(*SAID, version=version)]
    assert contents(items(packets, tmp_path)) == [*SAID, END]


def test_another_link_is_named(tmp_path):
    path = saved(conversation(*VISIT), tmp_path / "a.pcap")
    data = bytearray(path.read_bytes())
    data[20:24] = struct.pack("<I", 201)  # Bluetooth
    path.write_bytes(data)
    assert check(path).all_notes == [
        "11 packets were not read: their link is not Ethernet or the like"
    ]


def test_packets_cut_by_the_capture_are_missing_ones(tmp_path):
    said = [*VISIT, (True, ";app;;chat;0;0;" + "x" * 100), (True, ";app;;chat;0;0;")]
    cut = [type(each)(bytes(each)[:100]) for each in conversation(*said)[4:]]
    found = contents(items([*conversation(*said)[:4], *cut], tmp_path))
    assert found == [*VISIT, (True, ConnectionClosed(None, "", MISSING))]


@pytest.mark.parametrize("seed", range(2))
def test_disorder_and_packets_that_are_sent_again_change_nothing(tmp_path, seed):
    packets = conversation(*SAID, size=40)
    random = Random(seed)
    places = [(place + random.uniform(0, 6), each) for place, each in enumerate(packets)]
    places += [(place + random.uniform(0, 9), each) for place, each in enumerate(packets[2:], 2)]
    head = packets[:2]  # what precedes the SYN belongs to no known connection
    mixed = [each for _, each in sorted(places, key=lambda each: each[0])]
    assert contents(items([*head, *mixed], tmp_path)) == [*SAID, END]


def test_after_a_loss_the_rest_is_unknown_and_nobody_is_accused(tmp_path):
    said = [*SAID, (False, "$2;;;;;;"), (True, ";app;;chat;0;0;")]
    whole = conversation(*said)
    for lost in range(2, len(whole) - 3):
        packets = whole[:lost] + whole[lost + 1 :]
        found = contents(items(packets, tmp_path))
        texts = [text for _, text in said][: max(lost - 4, 0)]
        cut = [ConnectionClosed(None, "", MISSING)] if texts else []
        assert [content for _, content in found] == texts + cut
    for lost in (1, 5, 8):
        saved(whole[:lost] + whole[lost + 1 :], tmp_path / "lost.pcap")
        report = check(tmp_path / "lost.pcap")
        assert not report.violations
        assert report.notes == ([f"connection 1: {MISSING}"] if lost > 4 else report.notes)


@pytest.mark.parametrize("writer", [PcapWriter, PcapNgWriter])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_check_names_the_packet(tmp_path, writer, pack):
    path = saved(conversation(*VISIT, EARLY), tmp_path / "a.pcap", writer)
    path.write_bytes(pack(path.read_bytes()))
    done = run("check", tmp_path, "--jobs", "1")
    assert done.returncode == 1
    assert b"packet 9, connection 1: the client violated NS-11" in done.stdout


def test_connections_are_told_apart_and_others_are_left_out(tmp_path):
    first, second = conversation(*VISIT), conversation(*VISIT, port=40_001)
    chat = conversation((True, "hello"), port=40_002)
    middle = conversation(*VISIT, port=40_003)[5:]
    tls = conversation(port=40_004)[:2]
    hello = first[2].copy()
    hello[TCP].sport, hello[TCP].payload = 40_004, type(hello[TCP].payload)(b"\x16\x03\x01")
    packets = [each for pair in zip(first, second, strict=True) for each in pair]
    saved([*packets, *chat, *middle, *tls, hello], tmp_path / "a.pcap")
    report = check(tmp_path / "a.pcap")
    assert (report.verdict, report.messages) == (Verdict.PASS, 8)
    assert [note.split(": ")[1] for note in report.all_notes] == [
        "their beginnings are not in the capture",
        "they use TLS, and there are no keys. Try",
        "they are WebSocket connections that do not look like neffos",
    ]
    assert len(contents(items(chat, tmp_path, take_all=True))) == 2


def test_frames_that_cannot_be_read_end_a_connection_as_unknown(tmp_path):
    packets = conversation(*VISIT, closes=False)
    bad = conversation(*VISIT, (True, "x"), closes=False)[-1]
    bad[TCP].payload = type(bad[TCP].payload)(b"\xff" * 20)
    assert contents(items([*packets, bad], tmp_path))[-1] == (
        True,
        ConnectionClosed(None, "", MALFORMED),
    )


def test_import_writes_a_recording_without_secrets(tmp_path):
    path = saved(conversation(*VISIT), tmp_path / "a.pcapng", PcapNgWriter)
    done = run("import", path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert b"a.pcapng: 4 messages" in done.stdout
    recording = tmp_path / "out" / "a-1.jsonl"
    assert contents(read_transcript(recording).entries) == [*VISIT, END]
    assert "secret" not in recording.read_text()


@pytest.mark.parametrize(
    ("whole", "code", "complaint"),
    [
        (0, 2, "packet 2: not a packet: the capture is damaged, or ends"),
        (8, 1, "packet 10: not a packet: the capture is damaged, or ends"),
    ],
)
def test_damage_is_one_line(tmp_path, whole, code, complaint):
    path = saved(conversation(*VISIT)[:whole], tmp_path / "a.pcap")
    data = path.read_bytes() or struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    path.write_bytes(data + b"\xff" * 40)
    done = run("check", path)
    assert done.returncode == code
    assert complaint in (done.stdout + done.stderr).decode()


def test_connections_beyond_the_bound_end_as_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(capture, "LANES", 1)
    monkeypatch.setattr(capture, "MAX_LANE", 2)
    opened = [conversation(*VISIT, port=port, closes=False) for port in range(40_000, 40_003)]
    found = items([each for packets in opened for each in packets], tmp_path)
    cut = [each for each in found if isinstance(each.content, ConnectionClosed)]
    assert [(each.connection, each.content.cut) for each in cut] == [(1, capture.TOO_MANY)]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = saved(conversation(*VISIT), tmp_path / "a.pcap")
    monkeypatch.setitem(sys.modules, "scapy.utils", None)
    done = run("check", path)
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[captures]'" in done.stderr
