"""The program for device rules: what it decides, against the kernel's own rules for v1 written down plainly."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from orlop.linux.cgroup.device_rules import Rule
from orlop.linux.cgroup.v2.bpf import program, reduce

ACCESS = {"m": 1, "r": 2, "w": 4}
TYPES = {"b": 1, "c": 2}

numbers = st.one_of(st.none(), st.integers(0, 3), st.just(1 << 31))
accesses = st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(x for x in "rwm" if x in letters))
single = st.builds(Rule, st.booleans(), st.sampled_from("bc"), numbers, numbers, accesses)
whole = st.builds(lambda allow: Rule(allow, "a", None, None, "rwm"), st.booleans())
rules = st.lists(st.one_of(single, single, whole), max_size=8)


def run(code: bytes, kind: str, access: int, major: int, minor: int) -> bool:
    """Interpret the few instructions of BPF that the programs are made of."""
    if not code:
        return True
    context = struct.pack("=III", access << 16 | TYPES[kind], major, minor)
    registers = [0] * 11
    at = 0
    for _ in range(10_000):
        operation, pair, offset, number = struct.unpack_from("=BBhi", code, at * 8)
        destination, source, value = pair & 15, pair >> 4, number & 0xFFFFFFFF
        at += 1
        match operation:
            case 0x61:
                assert source == 1
                (registers[destination],) = struct.unpack_from("=I", context, offset)
            case 0xBC:
                registers[destination] = registers[source]
            case 0xB4:
                registers[destination] = value
            case 0x54:
                registers[destination] &= value
            case 0x74:
                registers[destination] >>= value
            case 0x56:
                at += offset if registers[destination] != value else 0
            case 0x16:
                at += offset if registers[destination] == value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"instruction {operation:#x}")
    raise AssertionError("the program does not end")


def decide(rules: list[Rule], kind: str, access: int, major: int, minor: int) -> bool:
    """security/device_cgroup.c: exceptions to a default, merged by device."""
    default, exceptions = True, dict[tuple[str, int | None, int | None], int]()
    for rule in rules:
        if rule.type == "a":
            default, exceptions = rule.allow, {}
            continue
        key, bits = (rule.type, rule.major, rule.minor), sum(ACCESS[letter] for letter in rule.access)
        if rule.allow != default:
            exceptions[key] = exceptions.get(key, 0) | bits
        elif key in exceptions:
            exceptions[key] &= ~bits
    for (one, its_major, its_minor), bits in exceptions.items():
        if one != kind or its_major not in (None, major) or its_minor not in (None, minor):
            continue
        if default and access & bits:
            return False
        if not default and bits and not access & ~bits:
            return True
    return default


@given(rules, st.sampled_from("bc"), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_it_decides_as_v1_does(rules: list[Rule], kind: str, access: int, major: int, minor: int) -> None:
    assert run(program(rules), kind, access, major, minor) == decide(rules, kind, access, major, minor)


@given(rules)
def test_numbers_beyond_31_bits_are_compared_whole(rules: list[Rule]) -> None:
    assert run(program(rules), "c", 2, 1 << 31, 0) == decide(rules, "c", 2, 1 << 31, 0)


def test_rules_that_allow_everything_need_no_program() -> None:
    assert program([]) == b""
    assert program([Rule(False, "a", None, None, "rwm"), Rule(True, "a", None, None, "rwm")]) == b""


def test_exceptions_for_one_device_add_up() -> None:
    rules = [
        Rule(False, "a", None, None, "rwm"),
        Rule(True, "c", 1, 3, "r"),
        Rule(True, "c", 1, 3, "w"),
    ]
    assert reduce(rules) == (False, {("c", 1, 3): 6})
    assert run(program(rules), "c", ACCESS["r"] | ACCESS["w"], 1, 3)
    assert not run(program(rules), "c", ACCESS["m"], 1, 3)
