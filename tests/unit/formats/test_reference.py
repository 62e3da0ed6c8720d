"""References: Docker's grammar, its defaults, and its words for what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.reference import check_tag, parse

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("alice/tool:v1", "docker.io/alice/tool:v1", "alice/tool:v1"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("Host/x", "Host/x", "Host/x"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("registry.example.com/a/b/c", "registry.example.com/a/b/c", "registry.example.com/a/b/c"),
        (f"busybox@sha256:{HEX}", f"docker.io/library/busybox@sha256:{HEX}", f"busybox@sha256:{HEX}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e", "a__b/c-d.e"),
    ],
)
def test_names_are_completed_and_shortened(text: str, canonical: str, familiar: str) -> None:
    assert parse(text).canonical() == canonical
    assert parse(text).familiar() == familiar
    assert parse(familiar) == parse(canonical) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("-x", "invalid reference format"),
        ("x:", "invalid reference format"),
        ("x:-tag", "invalid reference format"),
        ("x@sha256:12", "invalid checksum digest length"),
        ("a//b", "invalid reference format"),
        ("x\n", "invalid reference format"),
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("a/Foo:x", "invalid reference format: repository name (a/Foo) must be lowercase"),
        (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse(text)
    assert error.value.message == message


@given(st.text(max_size=300))
def test_any_text_is_a_reference_that_reads_back_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidArgument:
        return
    assert parse(reference.canonical()) == reference
    assert parse(reference.familiar()) == reference


def test_a_pattern_matches_the_familiar_name_with_and_without_its_tag() -> None:
    name = parse("busybox:1.36")
    assert name.matches("busybox")
    assert name.matches("busy*:1.*")
    assert not name.matches("b*/x")
    assert not parse("alice/busybox").matches("*")
    assert parse("alice/busybox").matches("*/busybox")


def test_tags_are_checked() -> None:
    assert check_tag("v1.0-rc_1") == "v1.0-rc_1"
    for text in ("", ".x", "a/b", "a" * 129):
        with pytest.raises(InvalidArgument, match="invalid tag format"):
            check_tag(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sha256", "invalid checksum digest format"),
        ("md5:" + "0" * 32, "unsupported digest algorithm"),
        ("sha256:" + "0" * 63, "invalid checksum digest length"),
        ("sha256:" + "G" * 64, "invalid checksum digest format"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:../../" + "0" * 58, "invalid checksum digest format"),
    ],
)
def test_what_is_no_digest_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        Digest.parse(text)
    assert error.value.message == message


def test_digests_of_both_algorithms_are_computed_and_shown() -> None:
    for algorithm, length in (("sha256", 64), ("sha512", 128)):
        digest = Digest.of(b"x", algorithm)
        assert Digest.parse(str(digest)) == digest
        assert len(digest.hex) == length
        assert digest == Digest.of_blocks([b"", b"x"], algorithm)
