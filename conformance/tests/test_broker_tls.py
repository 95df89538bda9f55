"""Python servers, and the suite, on a Redis and a NATS server that ask for TLS and a password."""

import logging
from urllib.parse import quote, urlencode

import pytest

from neffos_asyncio import exchange_at
from neffos_asyncio.transport import LOGGER
from neffos_conformance.wire.broker import BrokerError, broker_at
from peers.exchanges import Broker

from .test_broker import warnings
from .test_brokers import APP, PATIENCE, Wire, asynchronous, kinds, serving, until
from .test_reach import Papers

pytestmark = [pytest.mark.whole]

SECRET = "ge/h@im:1"  # noqa: S105  # of a test
SCHEMES = {"redis": "rediss", "nats": "tls"}


class Secured(Broker):
    """A broker that asks for a certificate of an authority, and for a password."""

    def __init__(self, kind, folder, papers):
        self.kind = kind
        files = {"ca": papers.ca, "cert": papers.server_pem, "key": papers.server_pem}
        if kind == "nats":
            options = ["--tls", "--tlsverify", "--user", "me", "--pass", SECRET]
            options += [f"--tls{name}={path}" for name, path in files.items() if name != "ca"]
            options += [f"--tlscacert={papers.ca}"]
        else:
            options = ["--requirepass", SECRET, "--tls-ca-cert-file", str(papers.ca)]
            for name in ("cert", "key"):
                options += [f"--tls-{name}-file", str(files[name])]
        super().__init__(kind, folder, options)

    def start(self):
        if self.kind == "redis":
            self._command += ["--port", "0", "--tls-port", str(self.port)]
        super().start()

    def at(self, ca, cert=None, key=None, secret=SECRET):
        """Its URL, with the files that a client uses."""
        files = {"ssl_ca_certs": ca, "ssl_certfile": cert, "ssl_keyfile": key}
        user = "me" if self.kind == "nats" else "default"
        query = urlencode({name: path for name, path in files.items() if path})
        place = f"{user}:{quote(secret, safe='')}@127.0.0.1:{self.port}"
        return f"{SCHEMES[self.kind]}://{place}?{query}"


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(params=kinds(), scope="module")
def secured(request, papers, tmp_path_factory):
    there = Secured(request.param, tmp_path_factory.mktemp("broker"), papers)
    yield there
    there.stop()


@asynchronous
async def test_servers_and_the_suite_use_a_broker_over_tls(secured, papers):
    url = secured.at(papers.ca, papers.cert, papers.key)
    heard = []
    async with (
        broker_at(url, lambda *each: heard.append(each)) as suite,
        serving(url) as ((first, _), join),
    ):
        far = await join(1, "far", answer="yes")
        first.broadcast(APP, "news", "x")
        assert (await first.ask(APP, "question", to="far", timeout=PATIENCE)).body == "yes"
        await until(lambda: far.bodies == ["x"] and heard)
        channels = suite.channels("neffos")
        await suite.publish(channels.of_namespace(APP), b";app;;news;0;0;y")
        await until(lambda: far.bodies == ["x", "y"])


@asynchronous
@pytest.mark.parametrize("wrong", ["authority", "no certificate", "password"])
async def test_who_may_not_use_it_is_told_why_on_one_line_without_secrets(
    secured, papers, wrong, caplog
):
    given = {
        "authority": (papers.other_ca, papers.cert, papers.key),
        "no certificate": (papers.ca,),
        "password": (papers.ca, papers.cert, papers.key, f"{SECRET}x"),
    }[wrong]
    caplog.set_level(logging.WARNING, LOGGER)
    url = secured.at(*given)
    wire = Wire(exchange_at(url))
    await until(lambda: warnings(caplog))
    await wire.attachment.close()
    texts = [warnings(caplog)[0]]
    if (secured.kind, wrong) != ("redis", "password"):  # the library then leaves half a connection
        with pytest.raises(BrokerError) as refused:
            async with broker_at(url, lambda *_: None):
                pass
        texts.append(str(refused.value))
    for said in texts:
        assert "\n" not in said
        assert SECRET not in said
        assert quote(SECRET, safe="") not in said
        assert wrong != "authority" or "certificate verify failed" in said
        assert f"127.0.0.1:{secured.port}" in said


@pytest.mark.parametrize("kind", SCHEMES.values())
def test_a_file_that_cannot_be_used_is_refused_at_once(kind, tmp_path):
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(ValueError, match="a file that its URL names cannot be used"):
            exchange_at(f"{kind}://127.0.0.1?ssl_ca_certs={tmp_path / name}")
