"""Orlop's registry over HTTP: every path of the specification, and what it says when something is wrong."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.netns import NetworkNamespace
from support.orlop_registry import (
    OCI_MANIFEST,
    PROGRAM,
    OrlopRegistry,
    config_of,
    digest_of,
    image_of,
    orlop_registry,
)

INDEX = "application/vnd.oci.image.index.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"
DATA = bytes(range(256)) * 41
UNKNOWN = digest_of(b"unknown")


@pytest.fixture(scope="module")
def registry() -> Iterator[OrlopRegistry]:
    with orlop_registry() as running:
        yield running


def begin(registry: OrlopRegistry, name: str) -> str:
    answer = registry.request("POST", f"/v2/{name}/blobs/uploads/")
    assert (answer.status, answer.headers["Range"], answer.body) == (202, "0-0", b"")
    assert answer.headers["Docker-Upload-UUID"] in answer.headers["Location"]
    return str(answer.headers["Location"])


def test_the_base_says_which_api_this_is(registry: OrlopRegistry) -> None:
    answer = registry.request("GET", "/v2/")
    assert (answer.status, answer.json) == (200, {})
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert registry.request("GET", "/").status == 200
    assert registry.request("GET", "/v3/").status == 404


def test_a_blob_is_read_whole_in_parts_and_not_again(registry: OrlopRegistry) -> None:
    digest = registry.push_blob("read", DATA)
    path = f"/v2/read/blobs/{digest}"
    whole = registry.request("GET", path)
    assert (whole.status, whole.body, whole.headers["Docker-Content-Digest"]) == (200, DATA, digest)
    assert whole.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    head = registry.request("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(DATA)))
    part = registry.request("GET", path, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, DATA[10:20], f"bytes 10-19/{len(DATA)}")
    assert registry.request("GET", path, headers={"Range": "bytes=-5"}).body == DATA[-5:]
    beyond = registry.request("GET", path, headers={"Range": f"bytes={len(DATA)}-"})
    assert (beyond.status, beyond.headers["Content-Range"], beyond.codes) == (
        *(416, f"bytes */{len(DATA)}"),
        ["RANGE_INVALID"],
    )
    tag = whole.headers["ETag"]
    assert registry.request("GET", path, headers={"If-None-Match": tag}).status == 304
    assert registry.request("HEAD", path, headers={"If-None-Match": f'"x", W/{tag}'}).status == 304
    assert registry.request("GET", path, headers={"Range": "bytes=0-0", "If-Range": tag}).status == 206
    assert registry.request("GET", path, headers={"Range": "bytes=0-0", "If-Range": '"x"'}).status == 200


def test_an_empty_blob_and_one_by_sha512_are_blobs_like_others(registry: OrlopRegistry) -> None:
    for data, algorithm in ((b"", "sha256"), (DATA, "sha512"), (b"", "sha512")):
        digest = registry.push_blob("kinds", data, algorithm)
        assert registry.request("GET", f"/v2/kinds/blobs/{digest}").body == data


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_is_uploaded_in_chunks_that_have_to_fit(registry: OrlopRegistry, algorithm: str) -> None:
    digest = digest_of(DATA, algorithm)
    location = begin(registry, "chunks")
    first = registry.request("PATCH", location, DATA[:100], {"Content-Range": "0-99"})
    assert (first.status, first.headers["Range"]) == (202, "0-99")
    for wrong in ("0-99", "200-299"):
        refused = registry.request("PATCH", location, DATA[100:200], {"Content-Range": wrong})
        assert (refused.status, refused.headers["Range"], refused.codes) == (416, "0-99", ["RANGE_INVALID"])
    for length in ("100-150", "100-300"):
        refused = registry.request("PATCH", location, DATA[100:200], {"Content-Range": length})
        assert (refused.status, refused.codes) == (400, ["SIZE_INVALID"])
    assert registry.request("PATCH", location, DATA[100:200], {"Content-Range": "x"}).status == 400
    state = registry.request("GET", location)
    assert (state.status, state.headers["Range"], state.body) == (204, "0-99", b"")
    assert registry.request("PATCH", location, iter([DATA[100:150], DATA[150:200]]), chunked=True).status == 202
    last = registry.request("PUT", f"{location}?digest={digest}", DATA[200:], {"Content-Range": f"200-{len(DATA) - 1}"})
    assert (last.status, last.headers["Location"]) == (201, f"/v2/chunks/blobs/{digest}")
    assert registry.request("GET", last.headers["Location"]).body == DATA
    assert registry.request("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_a_wrong_digest_ends_an_upload_and_leaves_no_blob(registry: OrlopRegistry) -> None:
    location = begin(registry, "wrong")
    assert registry.request("PUT", location, DATA).codes == ["DIGEST_INVALID"]
    assert registry.request("PUT", f"{location}?digest=sha256:x", DATA).codes == ["DIGEST_INVALID"]
    answer = registry.request("PUT", f"{location}?digest={UNKNOWN}", DATA)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert registry.request("HEAD", f"/v2/wrong/blobs/{UNKNOWN}").status == 404
    assert registry.request("POST", f"/v2/wrong/blobs/uploads/?digest={UNKNOWN}", DATA).codes == ["DIGEST_INVALID"]
    assert registry.request("GET", "/v2/wrong/tags/list").codes == ["NAME_UNKNOWN"]
    assert not list((registry.root / "uploads").iterdir())


def test_an_upload_can_be_given_up_and_is_of_its_repository_only(registry: OrlopRegistry) -> None:
    location = begin(registry, "given/up")
    assert registry.request("GET", location.replace("given/up", "given")).status == 404
    assert registry.request("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert registry.request(method, location).codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert registry.request("PUT", f"{location}?digest={UNKNOWN}").codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_a_blob_is_mounted_from_a_repository_that_has_it(registry: OrlopRegistry) -> None:
    digest = registry.push_blob("mount/from", DATA)
    query = f"/v2/mount/to/blobs/uploads/?mount={digest}"
    for wrong in (
        query,
        f"{query}&from=nowhere",
        f"{query}&from=../x",
        query.replace(digest, UNKNOWN) + "&from=mount/from",
    ):
        assert registry.request("POST", wrong).status == 202
    assert registry.request("HEAD", f"/v2/mount/to/blobs/{digest}").status == 404
    answer = registry.request("POST", f"{query}&from=mount/from")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/mount/to/blobs/{digest}")
    registry.request("DELETE", f"/v2/mount/from/blobs/{digest}")
    assert registry.request("GET", f"/v2/mount/from/blobs/{digest}").codes == ["BLOB_UNKNOWN"]
    assert registry.request("DELETE", f"/v2/mount/from/blobs/{digest}").codes == ["BLOB_UNKNOWN"]
    assert registry.request("GET", f"/v2/mount/to/blobs/{digest}").body == DATA


def test_a_manifest_is_pulled_as_it_was_pushed_by_tag_and_digest(registry: OrlopRegistry) -> None:
    data = json.dumps(image_of(b"m"), indent=3).encode()
    registry.push_blob("m", config_of(b"m"))
    registry.push_blob("m", b"layerm")
    pushed = registry.push("m", "v1", data)
    digest = digest_of(data)
    assert (pushed.status, pushed.headers["Docker-Content-Digest"]) == (201, digest)
    assert pushed.headers["Location"] == f"/v2/m/manifests/{digest}"
    for reference in ("v1", digest):
        got = registry.request("GET", f"/v2/m/manifests/{reference}")
        assert (got.status, got.body, got.headers["Content-Type"]) == (200, data, OCI_MANIFEST)
        head = registry.request("HEAD", f"/v2/m/manifests/{reference}")
        assert (head.body, head.headers["Content-Length"]) == (b"", str(len(data)))
        assert head.headers["Docker-Content-Digest"] == digest
        again = registry.request("GET", f"/v2/m/manifests/{reference}", headers={"If-None-Match": got.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
    assert registry.request("GET", "/v2/m/manifests/v2").codes == ["MANIFEST_UNKNOWN"]
    assert registry.request("GET", f"/v2/n/manifests/{digest}").codes == ["MANIFEST_UNKNOWN"]


def test_a_manifest_by_sha512_keeps_that_digest_and_takes_tags(registry: OrlopRegistry) -> None:
    registry.push_image("long", "first")
    data = json.dumps(image_of()).encode()
    digest = digest_of(data, "sha512")
    answer = registry.push("long", f"{digest}?tag=a&tag=b", data)
    assert (answer.status, answer.headers.get_all("OCI-Tag")) == (201, ["a", "b"])
    assert registry.request("HEAD", "/v2/long/manifests/a").headers["Docker-Content-Digest"] == digest
    assert registry.push("long", digest_of(b"x"), data).codes == ["DIGEST_INVALID"]


def test_a_manifest_whose_blobs_are_missing_is_refused_with_each_of_them(registry: OrlopRegistry) -> None:
    refused = registry.push("missing", "v1", image_of(b"missing"))
    assert (refused.status, refused.codes) == (400, ["MANIFEST_BLOB_UNKNOWN"] * 2)
    assert {error["detail"]["digest"] for error in refused.json["errors"]} == {
        digest_of(config_of(b"missing")),
        digest_of(b"layermissing"),
    }
    child = {"mediaType": OCI_MANIFEST, "digest": UNKNOWN, "size": 7}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    assert registry.push("missing", "v1", index, INDEX).codes == ["MANIFEST_BLOB_UNKNOWN"]
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": UNKNOWN,
        "size": 7,
        "urls": ["https://example.com/"],
    }
    registry.push_blob("missing", config_of(b"f"))
    assert registry.push("missing", "v1", image_of(b"f", layers=[foreign])).status == 201


def test_manifests_that_make_no_sense_are_refused(registry: OrlopRegistry) -> None:
    assert registry.push("bad", "v1", b"{").codes == ["MANIFEST_INVALID"]
    assert registry.push("bad", "v1", image_of(), INDEX).codes == ["MANIFEST_INVALID"]
    assert registry.push("bad", "v1", image_of(manifests=[])).codes == ["MANIFEST_INVALID"]
    signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    assert registry.push("bad", "v1", {"schemaVersion": 1}, signed).codes == ["MANIFEST_INVALID"]
    huge = registry.push("bad", "v1", b" " * (4 << 20) + b"{}")
    assert (huge.status, huge.codes) == (413, ["MANIFEST_INVALID"])
    assert registry.push("bad", ".v1", image_of()).codes == ["TAG_INVALID"]
    assert registry.push("Bad", "v1", image_of()).codes == ["NAME_INVALID"]
    unknown = "application/vnd.example.thing+json"
    assert registry.push("bad", "thing", {"mediaType": unknown, "things": []}, unknown).status == 201
    assert registry.request("GET", "/v2/bad/manifests/thing").headers["Content-Type"] == unknown


def test_clients_are_given_what_they_accept(registry: OrlopRegistry) -> None:
    digest = registry.push_image("accept", "oci")
    refused = registry.request("GET", "/v2/accept/manifests/oci", headers={"Accept": SCHEMA_2})
    assert (refused.status, refused.codes) == (404, ["MANIFEST_UNKNOWN"])
    children = []
    for architecture in ("arm64", "amd64"):
        document = image_of() | {"mediaType": SCHEMA_2, "annotations": {"for": architecture}}
        child = registry.push("accept", architecture, document, SCHEMA_2).headers["Docker-Content-Digest"]
        platform = {"os": "linux", "architecture": architecture}
        children.append({"mediaType": SCHEMA_2, "digest": child, "size": 1, "platform": platform})
    both = {"schemaVersion": 2, "mediaType": LIST, "manifests": children}
    listed = registry.push("accept", "both", both, LIST).headers["Docker-Content-Digest"]
    old = {"Accept": SCHEMA_2}
    found = registry.request("GET", "/v2/accept/manifests/both", headers=old)
    assert (found.headers["Content-Type"], found.headers["Docker-Content-Digest"]) == (SCHEMA_2, children[1]["digest"])
    assert registry.request("GET", f"/v2/accept/manifests/{listed}", headers=old).headers["Content-Type"] == LIST
    assert registry.request("GET", "/v2/accept/manifests/both").headers["Docker-Content-Digest"] == listed
    assert registry.request("HEAD", f"/v2/accept/manifests/{digest}", headers={"Accept": "*/*"}).status == 200


def test_tags_come_in_pages(registry: OrlopRegistry) -> None:
    for tag in ("b", "A", "c", "B2", "a1"):
        registry.push_image("tags/of", tag)
    everything = registry.request("GET", "/v2/tags/of/tags/list")
    assert everything.json == {"name": "tags/of", "tags": ["A", "a1", "b", "B2", "c"]}
    assert "Link" not in everything.headers
    first = registry.request("GET", "/v2/tags/of/tags/list?n=2")
    assert (first.json["tags"], first.headers["Link"]) == (
        ["A", "a1"],
        '</v2/tags/of/tags/list?n=2&last=a1>; rel="next"',
    )
    rest = registry.request("GET", "/v2/tags/of/tags/list?n=3&last=a1")
    assert (rest.json["tags"], "Link" in rest.headers) == (["b", "B2", "c"], False)
    assert registry.request("GET", "/v2/tags/of/tags/list?n=0").json["tags"] == []
    assert registry.request("GET", "/v2/tags/of/tags/list?n=x").codes == ["PAGINATION_NUMBER_INVALID"]
    assert registry.request("GET", "/v2/tags/list").status == 404
    assert registry.request("GET", "/v2/no/such/tags/list").codes == ["NAME_UNKNOWN"]


def test_deleting_a_manifest_takes_its_tags_along_and_a_tag_nothing_else() -> None:
    with orlop_registry() as registry:
        digest = registry.push_image("delete", "one")
        registry.push_image("delete", "two")
        registry.push_image("delete", "other", b"x")
        assert registry.request("DELETE", "/v2/delete/manifests/one").status == 202
        assert registry.request("DELETE", "/v2/delete/manifests/one").codes == ["MANIFEST_UNKNOWN"]
        assert registry.request("GET", f"/v2/delete/manifests/{digest}").status == 200
        assert registry.request("DELETE", f"/v2/delete/manifests/{digest}").status == 202
        assert registry.request("GET", "/v2/delete/manifests/two").codes == ["MANIFEST_UNKNOWN"]
        assert registry.request("GET", "/v2/delete/tags/list").json["tags"] == ["other"]
        assert registry.request("DELETE", f"/v2/delete/manifests/{digest}").codes == ["MANIFEST_UNKNOWN"]
        assert not list((registry.root / "deletions").iterdir())


def test_the_catalog_lists_what_has_manifests_in_pages() -> None:
    with orlop_registry() as registry:
        registry.push_blob("only/blobs", b"x")
        for name in ("b", "a/b/c", "a", *(f"many/{number:03}" for number in range(100))):
            registry.push_image(name, "v1")
        first = registry.request("GET", "/v2/_catalog")
        assert (len(first.json["repositories"]), first.json["repositories"][:3]) == (100, ["a", "a/b/c", "b"])
        rest = registry.request("GET", first.headers["Link"][1:].partition(">")[0])
        assert (rest.json["repositories"], "Link" in rest.headers) == (["many/097", "many/098", "many/099"], False)
        assert registry.request("GET", "/v2/_catalog?n=1&last=a").json["repositories"] == ["a/b/c"]


def test_referrers_are_listed_with_and_without_a_filter(registry: OrlopRegistry) -> None:
    subject = registry.push_image("ref", "image")
    refers = {"subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}}
    signature = image_of(b"s", artifactType="application/signature", annotations={"by": "me"}, **refers)
    for data in (config_of(b"s"), b"layers"):
        registry.push_blob("ref", data)
    pushed = registry.push("ref", "signature", signature)
    assert pushed.headers["OCI-Subject"] == subject
    registry.push_image("ref", "plain", b"p", **refers)
    answer = registry.request("GET", f"/v2/ref/referrers/{subject}")
    assert (answer.headers["Content-Type"], answer.json["mediaType"], len(answer.json["manifests"])) == (
        INDEX,
        INDEX,
        2,
    )
    assert "OCI-Filters-Applied" not in answer.headers
    filtered = registry.request("GET", f"/v2/ref/referrers/{subject}?artifactType=application/signature")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.json["manifests"] == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": pushed.headers["Docker-Content-Digest"],
            "size": len(json.dumps(signature)),
            "artifactType": "application/signature",
            "annotations": {"by": "me"},
        }
    ]
    registry.request("DELETE", f"/v2/ref/manifests/{pushed.headers['Docker-Content-Digest']}")
    left = registry.request("GET", f"/v2/ref/referrers/{subject}").json["manifests"]
    assert [entry["artifactType"] for entry in left] == ["application/vnd.oci.image.config.v1+json"]
    assert registry.request("GET", f"/v2/none/referrers/{UNKNOWN}").json["manifests"] == []
    assert registry.request("GET", "/v2/ref/referrers/latest").codes == ["DIGEST_INVALID"]


def test_referrers_that_are_too_many_for_a_document_come_in_pages(registry: OrlopRegistry) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": UNKNOWN, "size": 1}
    pushed = set()
    for number in range(3):
        big = {"x": "y" * (2 << 20)}
        pushed.add(registry.push_image("refs", f"v{number}", b"%d" % number, subject=subject, annotations=big))
    seen, sizes = set(), []
    path = f"/v2/refs/referrers/{UNKNOWN}?artifactType=application/vnd.oci.image.config.v1%2Bjson"
    while path:
        answer = registry.request("GET", path)
        sizes.append(len(answer.body))
        seen |= {entry["digest"] for entry in answer.json["manifests"]}
        path = answer.headers.get("Link", "<>")[1:].partition(">")[0]
    assert (seen, len(sizes)) == (pushed, 3)
    assert max(sizes) <= 4 << 20


def test_methods_that_a_path_does_not_have_are_named(registry: OrlopRegistry) -> None:
    answer = registry.request("PUT", f"/v2/a/blobs/{UNKNOWN}", b"")
    assert (answer.status, answer.codes, answer.headers["Allow"]) == (405, ["UNSUPPORTED"], "GET, HEAD, DELETE")


def test_a_read_only_registry_serves_and_refuses_to_change() -> None:
    with orlop_registry() as registry:
        digest = registry.push_image("ro", "v1")
        registry.stop()
        registry.start("--read-only")
        assert registry.request("GET", "/v2/ro/manifests/v1").status == 200
        for method, path in (
            ("POST", "/v2/ro/blobs/uploads/"),
            ("PUT", "/v2/ro/manifests/v2"),
            ("DELETE", f"/v2/ro/manifests/{digest}"),
        ):
            answer = registry.request(method, path, b"{}")
            assert (answer.status, answer.codes, answer.headers["Allow"]) == (405, ["DENIED"], "GET, HEAD")


def test_users_of_the_password_file_are_admitted_and_changes_of_it_are_seen(tmp_path: Path) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd (apache2-utils)")
    users = tmp_path / "users"
    subprocess.run(["htpasswd", "-Bbc", users, "ann", "x" * 100], check=True, capture_output=True)
    with orlop_registry(f"--htpasswd={users}", '--realm=a "realm"') as registry:

        def ask(user: str, password: str) -> int:
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            return registry.request("GET", "/v2/", headers={"Authorization": f"Basic {basic}"}).status

        refused = registry.request("GET", "/v2/")
        assert (refused.status, refused.codes) == (401, ["UNAUTHORIZED"])
        assert refused.headers["WWW-Authenticate"] == r'Basic realm="a \"realm\""'
        assert [ask("ann", "x" * 100), ask("ann", "x" * 100), ask("ann", "y"), ask("bob", "x" * 100)] == [
            200,
            200,
            401,
            401,
        ]
        assert [ask("ann", "a\0b"), ask("", ""), ask("ann", "")] == [401, 401, 401]
        subprocess.run(["htpasswd", "-Bb", users, "ann", "new"], check=True, capture_output=True)
        assert [ask("ann", "x" * 100), ask("ann", "new")] == [401, 200]
        users.write_text("ann:{SHA}x\n")
        assert ask("ann", "new") == 200
        assert "the users that it had before stay" in registry.log.read_text()
    done = subprocess.run(
        [PROGRAM, "serve", f"--root={tmp_path / 'r'}", f"--htpasswd={users}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "line 1: the password of ann is not hashed with bcrypt but with SHA-1" in done.stderr


@pytest.mark.root
def test_tls_is_served_and_client_certificates_asked_for(tmp_path: Path, netns: NetworkNamespace) -> None:
    authority = Authority(tmp_path)
    options = (f"--tls-cert={authority.server}", f"--tls-key={authority.server}", f"--tls-client-ca={authority.ca}")
    with orlop_registry(*options, netns=netns) as registry:
        digest = registry.push_blob("tls", DATA)
        curl = ["curl", "-sS", "--cacert", authority.ca, f"https://{registry.host}/v2/tls/blobs/{digest}"]
        refused = netns.run(*curl, check=False)
        assert refused.returncode != 0
        with_certificate = subprocess.run(
            netns.command(*curl, "--cert", authority.client),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert with_certificate.stdout == DATA


def test_an_open_address_without_tls_has_to_be_meant(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "serve", f"--root={tmp_path}", "--listen=0.0.0.0:0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "without TLS everybody on the way can read and change" in done.stderr
    assert not list(tmp_path.iterdir())
