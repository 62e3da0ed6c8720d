"""What is read out of manifests, and what a collection makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.model.oci import media
from orlop.registry import references
from orlop.registry.references import References
from orlop.registry.storage.collect import Holdings, plan

A, B, C, D, E, F = (Digest.of(letter.encode()) for letter in "abcdef")


def descriptor(digest: Digest, media_type: str = media.OCI_LAYER_GZIP, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": 1, **more}


def image(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": descriptor(A, media.OCI_CONFIG),
        "layers": [descriptor(B), descriptor(C, media.DOCKER_FOREIGN_LAYER, urls=["https://example.com/"])],
        **more,
    }


def read(document: Any, media_type: str = "") -> References:
    return references.read(json.dumps(document).encode(), media_type)


def test_an_image_needs_its_blobs_but_for_those_that_lie_elsewhere() -> None:
    found = read(image(subject=descriptor(D, media.OCI_MANIFEST), annotations={"a": "b"}), media.OCI_MANIFEST)
    assert (found.blobs, found.manifests, found.others) == ({A, B}, frozenset(), {C})
    assert (found.subject, found.artifact_type, found.annotations) == (D, media.OCI_CONFIG, {"a": "b"})
    assert read(image(artifactType="application/x")).artifact_type == "application/x"


def test_an_index_needs_its_manifests() -> None:
    index = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_INDEX,
        "manifests": [descriptor(A, media.DOCKER_MANIFEST), descriptor(B, "application/vnd.example+json")],
    }
    found = read(index, f"{media.DOCKER_INDEX}; charset=utf-8")
    assert (found.media_type, found.manifests, found.blobs) == (media.DOCKER_INDEX, {A, B}, frozenset())


def test_of_unknown_documents_everything_that_looks_like_a_descriptor_is_held() -> None:
    document = {
        "mediaType": "application/vnd.example+json",
        "artifactType": "application/x",
        "blobs": [descriptor(A), {"deep": [[descriptor(B)]]}],
        "digest": "not one",
        "subject": descriptor(C),
        "annotations": {"x": 1},
    }
    found = read(document, "application/vnd.example+json")
    assert (found.others, found.subject, found.artifact_type) == ({A, B}, C, "application/x")
    assert (found.blobs, found.annotations) == (frozenset(), None)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", media.OCI_MANIFEST),
        (b"[]", "application/vnd.example+json"),
        (b"null", "application/vnd.example+json"),
        (b"\xff", "application/vnd.example+json"),
        (b"[" * 100_000, "application/vnd.example+json"),
        (b'{"a":' * 100_000, media.OCI_INDEX),
        (b'{"mediaType": "application/a"}', "application/b"),
        (json.dumps(image()).encode(), media.OCI_INDEX),
        (json.dumps(image(manifests=[])).encode(), media.OCI_MANIFEST),
        (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (b" " * (5 << 20) + b"{}", "application/vnd.example+json"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, media_type: str) -> None:
    with pytest.raises(InvalidArgument):
        references.read(data, media_type)


def test_what_was_accepted_once_is_read_whatever_the_rules_are_now() -> None:
    data = json.dumps(image(manifests=[descriptor(D)])).encode()
    assert references.read_again(data, media.OCI_MANIFEST).all == {A, B, C, D}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.just(str(A)),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["digest", "subject", "mediaType", "x"]), inner),
)


@given(JSON, st.sampled_from([media.OCI_MANIFEST, media.OCI_INDEX, "", "application/vnd.example+json"]))
def test_reading_fails_with_an_invalid_argument_only(document: Any, media_type: str) -> None:
    try:
        read(document, media_type)
    except InvalidArgument:
        pass


def named(*digests: Digest, subject: Digest | None = None) -> References:
    return References(media.OCI_MANIFEST, blobs=frozenset(digests), subject=subject)


def test_without_asking_for_more_every_manifest_stays() -> None:
    made = plan({"x": Holdings({A: named(B), C: named(D)}, tagged=frozenset([A]))}, untagged=False)
    assert (made.forget, made.keep) == ({"x": []}, {"x": {A, B, C, D}})


def test_untagged_manifests_go_unless_something_that_stays_leads_to_them() -> None:
    index = References(media.OCI_INDEX, manifests=frozenset([B]))
    manifests = {A: index, B: named(E), C: named(F), D: named(F, subject=B)}
    made = plan({"x": Holdings(manifests, tagged=frozenset([A]))}, untagged=True)
    assert (made.forget, made.keep) == ({"x": [C]}, {"x": {A, B, D, E, F}})


def test_fresh_manifests_and_rings_of_referrers_stay_as_they_should() -> None:
    ring = {A: named(subject=B), B: named(subject=A), C: named(D), E: named(F)}
    made = plan({"x": Holdings(ring, fresh=frozenset([C]))}, untagged=True)
    assert (made.forget["x"], made.keep["x"]) == (sorted([A, B, E]), {C, D})
