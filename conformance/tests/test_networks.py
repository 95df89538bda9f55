"""The networks: what the proxy does to bytes."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from mutation import work_clock
from neffos_conformance.wire.networks import CUT, SILENCE, Network, network_before, networks

FRAME = b"\x82\x7e\x01\x00" + bytes(256)
HEAD = b"GET / HTTP/1.1\r\n\r\n"


# -------------------------------------------------------------------- the proxy


@asynccontextmanager
async def echoed(network: Network):
    """Connect through a network with a server that echoes bytes; give the pieces that arrive."""
    pieces = []

    async def echo(reader, writer):
        while data := await reader.read(1 << 16):
            pieces.append(data)
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with network_before(f"ws://127.0.0.1:{port}", network) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[-1]))
            yield reader, writer, pieces
            writer.close()


def through(network: Network, data: bytes, *, size: int | None = None) -> tuple[bytes, float]:
    """Send bytes through a network and back; give what came, and how long it took."""

    async def run():
        async with echoed(network) as (reader, writer, _):
            began = asyncio.get_running_loop().time()
            writer.write(data)
            try:
                async with asyncio.timeout(60):
                    came = await reader.readexactly(len(data) if size is None else size)
            except asyncio.IncompleteReadError as error:
                came = error.partial
            return came, asyncio.get_running_loop().time() - began

    return work_clock.run(run())


@pytest.mark.parametrize("name", [name for name, each in networks().items() if not each.loss])
def test_a_network_without_loss_delivers_every_byte_in_order(name):
    network = networks()[name]
    short = (b"\x81\x01" + bytes([number]) for number in range(40))
    data = HEAD + b"".join(FRAME + each for each in short) + b"\x81\x7e"
    came, _ = through(network, data)
    assert came == data


def test_latency_counts_each_way():
    _, seconds = through(Network("", "", latency=1.0), HEAD)
    assert 2 <= seconds < 3


def test_a_rate_limits_the_bytes_of_a_second():
    _, seconds = through(Network("", "", rate=1_000), HEAD + FRAME * 20)
    assert 5 <= seconds < 10  # 5.2 kB each way, at the same time in both


def test_each_frame_is_held():
    _, seconds = through(Network("", "", hold=0.5), HEAD + FRAME * 4)
    assert 2.5 <= seconds < 5


def test_segments_arrive_one_by_one():
    async def run():
        async with echoed(Network("", "", segment=7)) as (reader, writer, pieces):
            writer.write(HEAD)
            await reader.readexactly(len(HEAD))
            return pieces

    assert max(map(len, asyncio.run(run()))) < len(HEAD)


def test_bytes_of_a_while_arrive_in_one_piece():
    async def run():
        async with echoed(Network("", "", coalesce=1.0)) as (reader, writer, pieces):
            for _ in range(5):
                writer.write(HEAD)
                await writer.drain()
                await asyncio.sleep(0.01)
            await reader.readexactly(5 * len(HEAD))
            return pieces

    pieces = work_clock.run(run())
    assert b"".join(pieces) == HEAD * 5
    assert len(pieces) <= 2  # the while of a second may end between two of them


def test_a_cut_ends_the_connection_in_the_middle_of_a_frame():
    data = HEAD + FRAME * 40
    came, _ = through(Network("", "", loss=CUT), data)
    assert len(came) < len(data)


def test_silence_ends_nothing_and_delivers_nothing():
    async def run():
        async with echoed(Network("", "", loss=SILENCE)) as (reader, writer, _):
            writer.write(HEAD + FRAME * 40)
            came = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while data := await reader.read(1 << 16):
                        came += data
                    pytest.fail("the connection ended")
            return came

    assert len(work_clock.run(run())) < len(HEAD + FRAME * 40)


def test_the_same_seed_loses_the_same_bytes():
    lengths = {len(through(Network("", "", loss=SILENCE, latency=0.01), HEAD, size=5)[0])}
    assert lengths == {5}
