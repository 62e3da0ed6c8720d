import pytest

from orlop.errors import InvalidArgument
from orlop.formats.duration import SECOND
from orlop.formats.units import binary_size, decimal_size, human_duration, parse_binary_size, parse_decimal_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("64m", 64 << 20),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("10 kb", 10240),
        ("5b", 5),
        ("1T", 1 << 40),
    ],
)
def test_sizes_of_memory_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_binary_size(text) == size


def test_sizes_of_storage_are_powers_of_1000() -> None:
    assert parse_decimal_size("10MB") == 10_000_000


@pytest.mark.parametrize("text", ["", "m", "1x", "-1", "1ib", "1 2m", "1e3", "٣m"])
def test_malformed_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size: "):
        parse_binary_size(text)


def test_sizes_are_printed_as_docker_does() -> None:
    assert decimal_size(4_261_550) == "4.262MB"
    assert decimal_size(4_261_550, 3) == "4.26MB"
    assert decimal_size(0) == "0B"
    assert binary_size(2_087_354_368) == "1.944GiB"


def test_spans_are_printed_as_docker_does() -> None:
    assert [human_duration(s * SECOND) for s in (0, 1, 59, 61, 180, 3600, 7200, 86400 * 3, 86400 * 20)] == [
        "Less than a second",
        "1 second",
        "59 seconds",
        "About a minute",
        "3 minutes",
        "About an hour",
        "2 hours",
        "3 days",
        "2 weeks",
    ]
