"""The pure parts of the registry client: challenges, credentials, endpoints, what errors say."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import Error, Internal, InvalidArgument
from orlop.registry.client import failures
from orlop.registry.client.certificates import tls_context
from orlop.registry.client.challenges import Challenge, parse_challenges
from orlop.registry.client.config import RegistryConfig
from orlop.registry.client.credentials import Credentials, parse_auth_header
from orlop.registry.client.mirrors import Endpoint, endpoints, mirror_endpoints
from orlop.registry.client.transport import check_url, origin, resolve


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (
            ['Bearer realm="https://a/t?x=1,2",service="s s",scope="repository:a:pull,push repository:b:pull"'],
            [
                (
                    "bearer",
                    {
                        "realm": "https://a/t?x=1,2",
                        "service": "s s",
                        "scope": "repository:a:pull,push repository:b:pull",
                    },
                )
            ],
        ),
        (['BEARER Realm=x, Basic realm="y"'], [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})]),
        (["Negotiate", r'Basic realm="a \"b\" \\"'], [("negotiate", {}), ("basic", {"realm": 'a "b" \\'})]),
        (['Bearer realm="first",realm="second"'], [("bearer", {"realm": "first"})]),
        (['Bearer realm="unclosed'], [("bearer", {"realm": ""})]),
        (["", ",,, ", '="x"'], []),
    ],
)
def test_challenges_are_read(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(headers) == tuple(Challenge(*item) for item in expected)


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)


@given(_TOKEN, st.dictionaries(_TOKEN, st.text(max_size=20), max_size=5))
def test_a_challenge_that_was_written_by_the_book_is_read_back(scheme: str, parameters: dict[str, str]) -> None:
    quoted = [
        f'{name}="{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for name, value in parameters.items()
    ]
    assert parse_challenges([f"{scheme} {', '.join(quoted)}"]) == (Challenge(scheme, parameters),)


@given(st.lists(st.text(max_size=100), max_size=3))
def test_any_challenge_is_read_or_left_out(headers: list[str]) -> None:
    assert len(parse_challenges(headers)) <= sum(map(len, headers))


def encoded(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize("padded", [True, False])
def test_credentials_come_out_of_the_header(padded: bool) -> None:
    text = encoded({"username": "me", "password": "pass wört", "serveraddress": "https://r"})
    credentials = parse_auth_header(text if padded else text.rstrip("="))
    assert credentials == Credentials("me", "pass wört", server_address="https://r")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, None),
        (None, None),
        ({"serveraddress": "r"}, None),
        ({"username": None, "auth": base64.b64encode(b"me:a:b").decode()}, Credentials("me", "a:b")),
        ({"identitytoken": "i"}, Credentials(identity_token="i")),
        ({"registrytoken": "r"}, Credentials(registry_token="r")),
    ],
)
def test_credentials_take_several_forms(document: Any, expected: Credentials | None) -> None:
    assert parse_auth_header(encoded(document)) == expected
    assert parse_auth_header("") is None


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_header_holds_credentials_or_is_refused(text: str) -> None:
    try:
        parse_auth_header(text)
    except InvalidArgument:
        return


def test_a_secret_is_neither_shown_nor_told() -> None:
    secret = "s3cr3t"
    credentials = Credentials("me", secret, secret, secret)
    assert secret not in repr(credentials)
    assert secret not in str([credentials])
    for document in (f'{{"password": "{secret}"', f'{{"password": ["{secret}"]}}'):
        with pytest.raises(InvalidArgument) as caught:
            parse_auth_header(base64.urlsafe_b64encode(document.encode()).decode())
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "addresses", "expected"),
    [
        ("localhost:5000", [], True),
        ("127.3.2.1", [], True),
        ("[::1]:5000", [], True),
        ("registry.example", [], False),
        ("registry.example", ["127.0.0.1"], True),
        ("named.example:5000", [], True),
        ("named.example:5001", [], False),
        ("named.example", [], False),
        ("any.example:1", [], True),
        ("10.2.3.4:5000", [], True),
        ("10.3.3.4:5000", [], False),
        ("within.example", ["192.0.2.1", "10.2.0.1"], True),
        ("127.0.0.1.example", [], False),
    ],
)
def test_insecure_is_what_the_operator_says_and_loopback(host: str, addresses: list[str], expected: bool) -> None:
    config = RegistryConfig(insecure=("named.example:5000", "any.example", "10.2.0.0/16"))
    assert config.is_insecure(host, addresses) is expected


@pytest.mark.parametrize(
    "config",
    [
        RegistryConfig(insecure=("http://a",)),
        RegistryConfig(insecure=("10.0.0.0/99",)),
        RegistryConfig(insecure=("a:99999",)),
        RegistryConfig(insecure=("",)),
        RegistryConfig(mirrors=("a.example",)),
        RegistryConfig(mirrors=("ftp://a",)),
        RegistryConfig(mirrors=("https://a/path",)),
        RegistryConfig(mirrors=("https://me:s3cr3t@a",)),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: RegistryConfig) -> None:
    with pytest.raises(InvalidArgument) as caught:
        config.check()
    assert "s3cr3t" not in str(caught.value)


def test_a_registry_is_asked_encrypted_and_plainly_only_where_that_is_allowed() -> None:
    assert endpoints("r.example:5000", insecure=False) == (Endpoint("https://r.example:5000"),)
    assert endpoints("localhost:5000", insecure=True) == (
        Endpoint("https://localhost:5000", verified=False),
        Endpoint("http://localhost:5000", verified=False),
    )
    assert [item.host for item in endpoints("docker.io", insecure=False)] == ["registry-1.docker.io"]


def test_mirrors_are_of_docker_hub_alone() -> None:
    config = RegistryConfig(mirrors=("https://a.example/", "http://b.example:5000"))
    assert mirror_endpoints("docker.io", config) == (
        Endpoint("https://a.example", mirror=True),
        Endpoint("http://b.example:5000", verified=False, mirror=True),
    )
    assert mirror_endpoints("quay.example", config) == ()


def errors(*entries: dict[str, str]) -> bytes:
    return json.dumps({"errors": entries}).encode()


DENIED = {"code": "DENIED", "message": "requested access to the resource is denied"}


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (
            404,
            errors({"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}),
            "manifest unknown: manifest unknown",
        ),
        (403, errors(DENIED), "denied: requested access to the resource is denied"),
        (403, b"", "denied: requested access to the resource is denied"),
        (401, b"<html>", "unauthorized: authentication required"),
        (401, b'{"details":"incorrect username or password"}', "unauthorized: incorrect username or password"),
        (429, errors({"code": "TOOMANYREQUESTS", "message": "slow down"}), "toomanyrequests: slow down"),
        (500, errors(DENIED), "received unexpected HTTP status: 500 Internal Server Error"),
        (
            404,
            b"<html>",
            "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>\"",
        ),
        (400, b"{}", 'error parsing HTTP 400 response body: no error details found in HTTP response body: "{}"'),
        (
            401,
            errors(DENIED, {"code": "UNAUTHORIZED", "message": "authentication required"}),
            "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n",
        ),
        (403, errors({"code": "DENIED", "message": "a\x1b[2Jb"}), "denied: a\N{REPLACEMENT CHARACTER}[2Jb"),
    ],
)
def test_an_error_of_a_registry_is_told_in_dockerds_words(status: int, body: bytes, text: str) -> None:
    assert str(failures.from_answer(status, body)) == text


@given(
    st.integers(300, 600),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["errors", "code", "message", "details"]), inner, max_size=3)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_error_page_is_an_error_of_bounded_length(status: int, body: bytes) -> None:
    error = failures.from_answer(status, body)
    assert isinstance(error, Error)
    assert len(str(error)) < 40_000


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?a=%2F&b=c%3D", "https://r.example/v2/x?a=%2F&b=c%3D"),
        ("https://other.example:8443/x#fragment", "https://other.example:8443/x"),
        ("", None),
        ("ftp://r.example/x", None),
        ("file:///etc/passwd", None),
        ("http://", None),
        ("https://me:secret@r.example/", None),
        ("https://r.example:99999/", None),
        ("https://r.example/\r\nX: y", None),
        ("https://[::1/", None),
        ("https://r.example/" + "a" * 20_000, None),
    ],
)
def test_only_addresses_that_can_be_followed_are(location: str, expected: str | None) -> None:
    if expected is not None:
        assert resolve("https://r.example/v2/", location) == expected
        return
    with pytest.raises(InvalidArgument) as caught:
        resolve("https://r.example/v2/", location)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_address_is_checked_or_refused(text: str) -> None:
    try:
        url = check_url(text)
    except InvalidArgument:
        return
    assert origin(url)[0] in ("http", "https")


def test_certificates_of_a_host_need_their_keys(tmp_path: Path) -> None:
    directory = tmp_path / "r.example:5000"
    directory.mkdir()
    tls_context("other.example", [tmp_path], verified=True)
    (directory / "client.cert").write_text("")
    with pytest.raises(Internal, match=r"missing key client\.key for client certificate client\.cert"):
        tls_context("r.example:5000", [tmp_path], verified=True)
    (directory / "client.cert").unlink()
    (directory / "client.key").write_text("")
    with pytest.raises(Internal, match=r"missing client certificate client\.cert for key client\.key"):
        tls_context("r.example:5000", [tmp_path], verified=True)
    (directory / "client.key").unlink()
    (directory / "ca.crt").write_text("nonsense")
    with pytest.raises(Internal, match=r"could not load .*ca\.crt"):
        tls_context("r.example:5000", [tmp_path], verified=True)
