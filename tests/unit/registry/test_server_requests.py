"""What the server reads out of requests, before it does anything."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.model.oci import media
from orlop.registry.server import paths
from orlop.registry.server.accept import Accepted, wants_default
from orlop.registry.server.failure import Failure, document
from orlop.registry.server.htpasswd import parse_basic, parse_users
from orlop.registry.server.pages import cut, link, number
from orlop.registry.server.ranges import Chunk, Span, parse_chunk, parse_range

SHA256 = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("path", "kind", "name", "item"),
    [
        ("/", "root", "", ""),
        ("/v2/", "base", "", ""),
        ("/v2", "base", "", ""),
        ("/v2/_catalog", "catalog", "", ""),
        ("/v2/a/blobs/uploads/", "uploads", "a", ""),
        ("/v2/a/b/c/blobs/uploads", "uploads", "a/b/c", ""),
        ("/v2/a/blobs/uploads/x-y", "upload", "a", "x-y"),
        (f"/v2/a/blobs/{SHA256}", "blob", "a", SHA256),
        (f"/v2/a/blobs/{quote(SHA256, safe='')}", "blob", "a", SHA256),
        ("/v2/a/manifests/latest", "manifest", "a", "latest"),
        ("/v2/a/tags/list/manifests/list", "manifest", "a/tags/list", "list"),
        ("/v2/a/manifests/tags/list", "tags", "a/manifests", ""),
        (f"/v2/a%2Fb/referrers/{SHA256}", "referrers", "a/b", SHA256),
    ],
)
def test_paths_are_read_from_their_end(path: str, kind: str, name: str, item: str) -> None:
    found = paths.parse(path)
    assert found is not None
    assert (found.kind, found.name, found.item) == (kind, name, item)


@pytest.mark.parametrize("path", ["/v1/", "/v2/a", "/v2/a/tags", "/v2/a/blobs/", "/v2//tags/list", "/etc/passwd"])
def test_other_paths_are_none_of_the_api(path: str) -> None:
    assert paths.parse(path) is None


@pytest.mark.parametrize(
    "name",
    [
        *("..", "a/../b", "a//b", "/a", "a/", "A", "a_", "-a", "a..b", "a:b", "a%00b", "a%0Ab", ".", "a/./b"),
        *("_catalog", "a" * 256, "é", "a b", "%252e%252e"),
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Failure) as caught:
        paths.parse(f"/v2/{name}/tags/list")
    assert (caught.value.code, caught.value.status) == ("NAME_INVALID", 400)


@given(st.text(), st.sampled_from(["blobs", "manifests", "referrers", "tags", "blobs/uploads"]), st.text())
def test_no_path_gets_a_dot_component_through(name: str, kind: str, item: str) -> None:
    try:
        found = paths.parse(f"/v2/{quote(name)}/{kind}/{quote(item)}")
    except Failure:
        return
    if found is not None:
        assert not set(found.name.split("/")) & {"..", "."}
        assert "\0" not in found.name
        assert "/" not in found.item
        for read in ("digest", "reference"):
            try:
                value = str(getattr(found, read))
            except Failure:
                continue
            assert "/" not in value
            assert value not in ("", ".", "..")


def test_a_reference_is_a_tag_or_a_digest() -> None:
    assert paths.Target("manifest", "a", "v1.0").reference == "v1.0"
    assert paths.Target("manifest", "a", SHA256).reference == Digest.parse(SHA256)
    for wrong, code in ((".x", "TAG_INVALID"), ("x" * 129, "TAG_INVALID"), ("md5:00", "DIGEST_INVALID")):
        with pytest.raises(Failure) as caught:
            paths.Target("manifest", "a", wrong).reference  # noqa: B018
        assert caught.value.code == code


def test_the_query_keeps_what_is_given_more_than_once() -> None:
    found = paths.parse("/v2/a/manifests/x?tag=1&tag=2&empty=")
    assert found is not None
    assert (found.all("tag"), found.parameter("empty"), found.parameter("none")) == (["1", "2"], "", None)
    with pytest.raises(Failure):
        paths.parse("/v2/_catalog?" + "&".join(f"x{number}=1" for number in range(1000)))


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-", Span(2, 8)),
        ("bytes=-3", Span(7, 3)),
        ("bytes=-30", Span(0, 10)),
        ("bytes=5-500", Span(5, 5)),
        ("Bytes= 1 - 2 ", Span(1, 2)),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=9" + "9" * 30 + "-", None),
    ],
)
def test_ranges_are_read_as_http_has_them(header: str, span: Span | None) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=5-2", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_that_is_not_there_is_416(header: str, size: int) -> None:
    with pytest.raises(Failure) as caught:
        parse_range(header, size)
    assert (caught.value.status, caught.value.headers) == (416, {"Content-Range": f"bytes */{size}"})


@given(st.text(alphabet="bytes=0123456789-, "), st.integers(0, 1000))
def test_every_range_lies_in_the_blob(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except Failure:
        return
    if span is not None:
        assert 0 <= span.start < span.start + span.length <= size


@pytest.mark.parametrize("header", ["0-9", "bytes 0-9/100", "bytes 0-9/*", " 0-9 ", "bytes=0-9"])
def test_chunks_are_announced_in_the_specifications_form_and_in_https(header: str) -> None:
    assert parse_chunk(header) == Chunk(0, 9)
    assert parse_chunk(header).length == 10


@pytest.mark.parametrize("header", ["", "9-0", "a-b", "0-", "-5", "0-9-10", "1" * 40 + "-2"])
def test_other_chunks_are_refused(header: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_chunk(header)
    assert caught.value.status == 400


def test_the_number_of_results_is_checked() -> None:
    assert (number(None), number("0"), number("10")) == (None, 0, 10)
    for wrong in ("", "-1", "x", "1e3", "٣", "9" * 20):
        with pytest.raises(Failure) as caught:
            number(wrong)
        assert caught.value.code == "PAGINATION_NUMBER_INVALID"


@given(st.sets(st.text(alphabet="abcABC.&=?<>", min_size=1)), st.integers(1, 5))
def test_following_the_links_gives_every_item_once_in_order(items: set[str], n: int) -> None:
    seen: list[str] = []
    last: str | None = None
    while True:
        page = cut(items, last, n)
        seen += page.items
        header = link("/v2/_catalog", page, n).get("Link")
        if header is None:
            break
        assert header.startswith("<")
        assert header.endswith('>; rel="next"')
        query = parse_qs(urlsplit(header[1:].partition(">;")[0]).query)
        assert query["n"] == [str(n)]
        last = query["last"][0]
    assert seen == sorted(items)


def test_a_page_begins_behind_what_need_not_be_there() -> None:
    assert cut(["a", "c", "b"], "b1", None).items == ["c"]
    assert cut(["a", "b"], None, 0).items == []
    assert not cut(["a", "b"], None, 0).more
    assert cut(["b", "A", "a", "C"], None, None, lambda tag: (tag.lower(), tag)).items == ["A", "a", "b", "C"]


@pytest.mark.parametrize(
    ("headers", "media_type", "admitted"),
    [
        ([], media.OCI_INDEX, True),
        ([""], media.OCI_INDEX, True),
        (["*/*"], media.OCI_INDEX, True),
        (["application/*"], media.OCI_INDEX, True),
        ([media.DOCKER_MANIFEST], media.OCI_MANIFEST, False),
        ([f"{media.DOCKER_MANIFEST}, {media.OCI_MANIFEST};q=0.5"], media.OCI_MANIFEST, True),
        ([media.DOCKER_MANIFEST, media.OCI_MANIFEST.upper()], media.OCI_MANIFEST, True),
        (["*/*", f"{media.OCI_MANIFEST};q=0"], media.OCI_MANIFEST, False),
    ],
)
def test_accept_headers_say_what_a_client_takes(headers: list[str], media_type: str, admitted: bool) -> None:
    assert Accepted(headers).admits(media_type) is admitted


def test_old_clients_get_the_default_image_by_tag_and_no_oci_documents() -> None:
    old = Accepted([media.DOCKER_MANIFEST])
    assert wants_default(old, media.DOCKER_INDEX, by_tag=True)
    assert not wants_default(old, media.DOCKER_INDEX, by_tag=False)
    assert not wants_default(old, media.DOCKER_MANIFEST, by_tag=True)
    for media_type in (media.OCI_INDEX, media.OCI_MANIFEST):
        with pytest.raises(Failure) as caught:
            wants_default(old, media_type, by_tag=True)
        assert caught.value.code == "MANIFEST_UNKNOWN"
    assert not wants_default(old, "application/vnd.example+json", by_tag=True)


BCRYPT = "$2y$05$" + "a" * 53


def test_a_password_file_is_of_bcrypt_entries() -> None:
    assert parse_users(f"# people\n\nann:{BCRYPT}\nbob:{BCRYPT}\n") == {"ann": BCRYPT.encode(), "bob": BCRYPT.encode()}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ann:{SHA}abc=", "SHA-1"),
        ("ann:$apr1$abc$def", "MD5 (apr1)"),
        ("ann:secret", "another scheme"),
        ("ann:$2y$05$short", "another scheme"),
        ("ann", "line 2 is not USER:HASH"),
        (f":{BCRYPT}", "line 2 is not USER:HASH"),
    ],
)
def test_other_entries_are_refused_with_their_line(line: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_users(f"bob:{BCRYPT}\n{line}\n")
    assert "line 2" in caught.value.message
    assert text in caught.value.message


@given(st.text().filter(lambda user: ":" not in user), st.binary())
def test_basic_credentials_are_read_back(user: str, password: bytes) -> None:
    encoded = base64.b64encode(user.encode() + b":" + password).decode()
    assert parse_basic(f"Basic {encoded}") == (user, password)
    assert parse_basic(f"basic  {encoded} ") == (user, password)


@given(st.text())
def test_other_authorizations_are_none(text: str) -> None:
    found = parse_basic(text)
    assert found is None or text.strip().lower().startswith("basic ")


def test_a_failure_tells_every_detail_as_an_error_of_its_own() -> None:
    found: Any = document(Failure("MANIFEST_BLOB_UNKNOWN", detail={"digest": "a"}, more=[{"digest": "b"}]))
    assert [error["detail"] for error in found["errors"]] == [{"digest": "a"}, {"digest": "b"}]
    assert {error["code"] for error in found["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}
    assert document(Failure("UNKNOWN")) == {"errors": [{"code": "UNKNOWN", "message": "unknown error"}]}
