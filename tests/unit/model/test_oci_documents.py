"""Manifests and indexes: what is read, what is refused, and that nothing else ever comes out of hostile bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform
from orlop.model.oci import media
from orlop.model.oci.documents import (
    MAX_BYTES,
    MAX_ENTRIES,
    Descriptor,
    Index,
    Manifest,
    check_image,
    encode,
    parse,
)

DIGEST = str(Digest.of(b"something"))


def descriptor(media_type: str = media.OCI_LAYER_GZIP, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 9, **more}


def manifest(**more: Any) -> dict[str, Any]:
    config = descriptor(media.OCI_CONFIG)
    return {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config, "layers": [descriptor()], **more}


def index(**more: Any) -> dict[str, Any]:
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1"}
    entry = descriptor(media.OCI_MANIFEST, platform=platform)
    return {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry], **more}


def text(document: dict[str, Any], *without: str) -> bytes:
    return json.dumps({key: value for key, value in document.items() if key not in without}).encode()


def test_a_manifest_is_read() -> None:
    document = parse(text(manifest(annotations={"a": "b"}, unknown=1)), f"{media.OCI_MANIFEST}; charset=utf-8")
    assert isinstance(document, Manifest)
    assert document.config.media_type == media.OCI_CONFIG
    assert [layer.parsed_digest for layer in document.layers] == [Digest.of(b"something")]
    assert document.annotations == {"a": "b"}
    assert check_image(document) is document


def test_an_index_is_read_with_its_platforms() -> None:
    document = parse(text(index()))
    assert isinstance(document, Index)
    platform = document.manifests[0].platform
    assert platform is not None
    assert platform.value() == Platform("linux", "arm64", "v8")
    assert platform.os_version == "1"


@pytest.mark.parametrize(
    ("document", "content_type", "media_type"),
    [
        (manifest(), "", media.OCI_MANIFEST),
        (manifest(), media.OCI_MANIFEST, media.OCI_MANIFEST),
        (manifest(), media.DOCKER_MANIFEST, media.DOCKER_MANIFEST),
        (manifest(), "application/json", media.OCI_MANIFEST),
        (index(), "", media.OCI_INDEX),
        (index(), media.DOCKER_INDEX, media.DOCKER_INDEX),
    ],
)
def test_a_media_type_that_the_text_leaves_out_is_added(
    document: dict[str, Any], content_type: str, media_type: str
) -> None:
    assert parse(text(document, "mediaType"), content_type).media_type == media_type


@pytest.mark.parametrize(
    ("data", "content_type", "message"),
    [
        (text({**manifest(), **index()}), "", "both a manifest and an index"),
        (text({**index(), "layers": []}), "", "both a manifest and an index"),
        (text(manifest()), media.OCI_INDEX, "was sent as"),
        (text(index()), media.OCI_MANIFEST, "was sent as"),
        (text(manifest()), media.DOCKER_MANIFEST, "was sent as"),
        (text(manifest(), "mediaType"), media.OCI_INDEX, "of the other kind"),
        (text(index(), "mediaType"), media.OCI_MANIFEST, "of the other kind"),
        (text(manifest(mediaType="application/x")), "", "unsupported manifest media type"),
        (text(manifest(), "mediaType"), "text/html", "unsupported manifest media type"),
        (text(manifest(schemaVersion=1)), "", "schema 1"),
        (text({"fsLayers": []}), "", "schema 1"),
        (text(manifest(schemaVersion=3)), "", "schemaVersion"),
        (text(manifest(), "config"), "", "config"),
        (text({}), "", "config"),
        (text(manifest(layers=None)), "", "layers"),
        (text(manifest(layers=[descriptor(digest="sha256:abc")])), "", "invalid checksum digest length"),
        (text(manifest(layers=[descriptor(digest="../../etc/passwd")])), "", "invalid checksum digest format"),
        (text(manifest(config=descriptor(digest="md5:" + "0" * 32))), "", "unsupported digest algorithm"),
        (text(manifest(subject=descriptor(digest="x"))), "", "invalid checksum digest format"),
        (text(manifest(layers=[descriptor(size=-1)])), "", "size"),
        (text(manifest(layers=[descriptor(size=1 << 64)])), "", "size"),
        (text(manifest(layers=[descriptor(size=0.5)])), "", "size"),
        (text(manifest(layers=[descriptor(data=base64.b64encode(b"different").decode())])), "", "are other than"),
        (text(index(manifests=[descriptor()] * (MAX_ENTRIES + 1))), "", f"more than {MAX_ENTRIES} manifests"),
        (text(manifest(layers=[descriptor()] * (MAX_ENTRIES + 1))), "", f"more than {MAX_ENTRIES} layers"),
        (b" " * (MAX_BYTES + 1), "", "bytes"),
        (b'{"x":' + b"[" * 100_000, "", "invalid manifest"),
        (b"\xff\xfe", "", "invalid manifest"),
        (b"[]", "", "invalid manifest"),
        (b"", "", "invalid manifest"),
    ],
)
def test_what_is_no_honest_document_is_refused(data: bytes, content_type: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse(data, content_type)


def test_embedded_data_that_are_right_are_returned() -> None:
    document = parse(text(manifest(config=descriptor(data=base64.b64encode(b"something").decode()))))
    assert isinstance(document, Manifest)
    assert document.config.data == b"something"


@pytest.mark.parametrize(
    "document",
    [
        manifest(config=descriptor("application/vnd.cncf.helm.config.v1+json")),
        manifest(config=descriptor(media.EMPTY)),
        manifest(layers=[descriptor("text/plain")]),
    ],
)
def test_an_artifact_is_read_but_is_no_image(document: dict[str, Any]) -> None:
    artifact = parse(text(document))
    assert isinstance(artifact, Manifest)
    with pytest.raises(InvalidArgument, match="unsupported media type"):
        check_image(artifact)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_is_encoded_is_read_back(algorithm: str) -> None:
    digest = str(Digest.of(b"x", algorithm))
    layer = Descriptor(media_type=media.OCI_LAYER_ZSTD, digest=digest, size=1)
    config = Descriptor(media_type=media.OCI_CONFIG, digest=digest, size=1)
    document = Manifest(media_type=media.OCI_MANIFEST, config=config, layers=(layer,))
    data = encode(document)
    assert data.startswith(b'{"schemaVersion":2,"mediaType":')
    assert parse(data, media.OCI_MANIFEST) == document


@given(st.binary(max_size=200), st.text(max_size=20))
def test_any_bytes_are_a_document_or_refused(data: bytes, content_type: str) -> None:
    try:
        parse(data, content_type)
    except InvalidArgument:
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([DIGEST, "", *media.ACCEPT]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["mediaType", "digest", "size", "platform", "urls", "data"]), inner)
    ),
    max_leaves=12,
)
_KEYS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType"]


@given(st.sampled_from([manifest(), index()]), st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=3))
def test_a_document_with_anything_in_its_fields_is_one_kind_or_refused(
    honest: dict[str, Any], changes: dict[str, Any]
) -> None:
    try:
        document = parse(text({**honest, **changes}))
    except InvalidArgument:
        return
    assert document.media_type in (media.INDEXES if isinstance(document, Index) else media.MANIFESTS)
    assert parse(encode(document), document.media_type) == document
