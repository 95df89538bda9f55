"""What is shown of a broker's URL, and which URLs are refused."""

import doctest

import pytest

from neffos_protocol import broker_urls
from neffos_protocol.broker_urls import check_urls, shown_urls


def test_the_examples_hold():
    result = doctest.testmod(broker_urls)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("urls", "shown"),
    [
        ("redis://one:6379/2", "redis://one:6379/2"),
        ("redis://user:pass@one:6379/2?password=pass", "redis://MASK@one:6379/2"),
        ("redis://:pass@one", "redis://MASK@one"),
        ("nats://user:p,ss@one, nats://:pass@two:4222", "nats://MASK@one,nats://MASK@two:4222"),
        ("NATS://user:pass@one,TLS://two#pass", "NATS://MASK@one,TLS://two"),
        ("user:pass@one:4222", "MASK@one:4222"),
        ("one:4222", "one:4222"),
        ("redis://user:pa?ss@one", "redis://MASK"),
        ("redis://user:pa#ss@one", "redis://MASK"),
        ("redis://one?user=me@home", "redis://MASK"),
    ],
)
def test_no_user_password_or_query_is_shown(urls, shown):
    assert shown_urls(urls, "MASK") == shown
    assert "pass" not in shown_urls(urls)
    assert "MASK" not in shown_urls(urls)


@pytest.mark.parametrize(
    "urls",
    [
        *("redis://one", "nats://user:pass@one:4222,tls://[::1]:4223"),
        *("rediss://one/2?ssl_ca_certs=ca.pem&client_name=a", "tls://one?ssl_ca_certs=ca.pem"),
    ],
)
def test_urls_with_readable_hosts_are_taken(urls):
    check_urls(urls)


@pytest.mark.parametrize(
    "urls",
    [
        "redis://user:ses/ame@one:6379",
        "redis://one:port",
        "nats://one,nats://[::1:sesame",
        "tls://a:70000",
    ],
)
def test_a_url_whose_port_is_a_part_of_a_password_is_refused_without_it(urls):
    with pytest.raises(ValueError, match="percent-encode its user and password") as caught:
        check_urls(urls)
    assert "ses" not in str(caught.value)


@pytest.mark.parametrize(
    "urls",
    [
        "redis://one?decode_responses=sesame",
        *("rediss://one?protocol=2", "unix:///path?timeout=1", "redis://:1?sesame@one"),
        *("nats://one,tls://two?db=1", "nats://one?client_name=sesame"),
    ],
)
def test_a_url_with_an_option_that_no_broker_can_have_is_refused(urls):
    with pytest.raises(ValueError, match="another option than") as caught:
        check_urls(urls)
    assert "sesame" not in str(caught.value)
