"""The upgrade request as the application sees it: headers, and parameters that stand for them."""

import pytest

from neffos_asyncio.request import Headers, upgrade_request


def request(target="/", *headers):
    return upgrade_request(target, headers, "192.0.2.1:5000")


# ---- Path, query, what else is known ----


def test_path_and_query_are_taken_apart():
    seen = request("/a%20b?x=1&y=&x=%C3%A4+z&flag")
    assert seen.path == "/a%20b"
    assert seen.query == (("x", "1"), ("y", ""), ("x", "ä z"), ("flag", ""))
    assert seen.remote == "192.0.2.1:5000"
    assert seen.values == {}


@pytest.mark.parametrize(
    ("name", "expected"), [("x", "1"), ("y", ""), ("z", "otherwise"), ("X", "otherwise")]
)
def test_a_parameter_is_the_first_of_its_name(name, expected):
    assert request("/?x=1&y=&x=2").parameter(name, "otherwise") == expected


def test_a_parameter_that_is_not_there_is_empty():
    assert request("/").parameter("x") == ""


def test_what_the_server_around_knows_is_passed_on():
    assert upgrade_request("/", [], "", {"user": "ann"}).values == {"user": "ann"}


# ---- Headers ----


@pytest.mark.parametrize("name", ["X-Token", "x-token", "X-TOKEN"])
def test_a_header_is_found_in_any_case(name):
    seen = request("/", ("x-ToKeN", "a"), ("X-Token", "b"))
    assert seen.headers[name] == "a"
    assert seen.headers.get_all(name) == ("a", "b")
    assert name in seen.headers


def test_a_header_that_is_not_there_has_no_value():
    headers = request("/").headers
    assert headers.get_all("X-Token") == ()
    assert "X-Token" not in headers
    with pytest.raises(KeyError):
        headers["X-Token"]


def test_headers_are_counted_and_listed_by_name():
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    assert (list(headers), len(headers)) == (["a", "b"], 2)


# ---- TR-8: parameters that stand for headers ----


@pytest.mark.parametrize(
    "parameter",
    [
        "X-Websocket-Header-X-Token=a",
        "x-websocket-header-x-token=a",
        "X-WEBSOCKET-HEADER-X-TOKEN=a",
        "X-Websocket-Header-X-Token=%61",
    ],
)
def test_a_parameter_stands_for_a_header(parameter):
    assert request(f"/?{parameter}").headers.get_all("X-Token") == ("a",)


def test_parameters_of_one_name_stand_for_several_values_in_their_order():
    prefix = "X-Websocket-Header-X-Token"
    seen = request(f"/?{prefix}=a&other=1&{prefix}=b")
    assert seen.headers.get_all("x-token") == ("a", "b")


def test_a_parameter_without_the_prefix_stands_for_no_header():
    seen = request("/?X-Token=a&Websocket-Header-X-Token=b&zX-Websocket-Header-X-Token=c")
    assert "X-Token" not in seen.headers


def test_the_number_of_tries_may_stand_in_the_url():
    assert request("/?X-Websocket-Header-X-Websocket-Reconnect=3").tries == 3


# ---- SEC-11 to SEC-13: what parameters may not do ----


def test_a_parameter_neither_replaces_nor_adds_to_a_header_that_was_sent():
    seen = request("/?X-Websocket-Header-X-Token=forged", ("x-TOKEN", "true"))
    assert seen.headers.get_all("X-Token") == ("true",)


def test_a_header_that_was_sent_empty_is_not_replaced_either():
    seen = request("/?X-Websocket-Header-X-Token=forged", ("X-Token", ""))
    assert seen.headers.get_all("X-Token") == ("",)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Cookie",
        "cookie",
        "Forwarded",
        "Host",
        "Origin",
        "Upgrade",
        "Sec-WebSocket-Key",
        "sec-fetch-site",
        "X-Forwarded-For",
        "x-forwarded-anything",
    ],
)
def test_headers_with_a_meaning_of_their_own_are_not_taken_from_the_url(name):
    assert name not in request(f"/?X-Websocket-Header-{name}=forged").headers


@pytest.mark.parametrize("name", ["Authorization", "Secret", "X-Forward", "Cookies"])
def test_names_that_only_resemble_those_are_taken(name):
    assert request(f"/?X-Websocket-Header-{name}=a").headers[name] == "a"


@pytest.mark.parametrize("name", ["", "a%20b", "a%3Ab", "a%0Ab", "%C3%A4", "a%2Fb", "a%00"])
def test_a_name_that_is_no_token_is_not_taken(name):
    assert len(request(f"/?X-Websocket-Header-{name}=a").headers) == 0


@pytest.mark.parametrize("value", ["a%0D%0AHost:b", "a%0D", "%0Aa", "a%00b"])
def test_a_value_that_would_end_its_line_is_not_taken(value):
    assert len(request(f"/?X-Websocket-Header-X-Token={value}").headers) == 0


def test_a_parameter_that_may_not_be_taken_keeps_none_of_the_others_out():
    seen = request("/?X-Websocket-Header-Host=a&X-Websocket-Header-X-Token=b")
    assert dict(seen.headers) == {"x-token": "b"}


# ---- TR-10: the number of tries ----


@pytest.mark.parametrize(
    ("value", "tries"),
    [
        ("1", 1),
        ("12", 12),
        ("999999999", 999999999),
        ("007", 7),
        ("0", 0),
        ("", 0),
        ("-1", 0),
        ("+1", 0),
        (" 1", 0),
        ("1.0", 0),
        ("1e3", 0),
        ("0x1", 0),
        ("1_0", 0),
        ("many", 0),
        ("\u0661", 0),  # a digit to Python, and no decimal number on the wire
        ("²", 0),
        ("1" * 10, 0),
        ("9" * 5000, 0),  # more digits than Python would read
    ],
)
def test_only_a_positive_decimal_number_is_a_reconnection(value, tries):
    assert request("/", ("x-websocket-RECONNECT", value)).tries == tries


def test_no_header_is_no_reconnection():
    assert request("/").tries == 0


# ---- SEC-9: pages of the same host ----


@pytest.mark.parametrize(
    ("origins", "host", "same"),
    [
        ([], "example.org", True),
        (["https://example.org"], "example.org", True),
        (["http://Example.ORG:8080"], "example.org:8080", True),
        (["https://example.org"], "EXAMPLE.org", True),
        (["https://example.org"], "other.example.org", False),
        (["https://example.org.evil.test"], "example.org", False),
        (["https://example.org:444"], "example.org", False),
        (["null"], "example.org", False),
        ([""], "example.org", False),
        (["https://[broken"], "example.org", False),
        (["https://example.org", "https://example.org"], "example.org", False),
        (["https://example.org"], None, False),
    ],
)
def test_a_page_is_of_the_same_origin_where_its_host_is_the_servers(origins, host, same):
    headers = [("Origin", origin) for origin in origins]
    headers += [] if host is None else [("Host", host)]
    assert request("/", *headers).is_same_origin is same


@pytest.mark.parametrize("origin", ["null", "", "nonsense"])
def test_an_origin_without_a_host_is_not_that_of_a_request_without_one(origin):
    assert request("/", ("Origin", origin)).is_same_origin is False
