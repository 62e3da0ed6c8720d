import hashlib

import pytest

from orlop.errors import InvalidArgument
from orlop.formats.identity import chain_ids, check_container_name, is_id, is_name, new_id, random_name, short_id


def test_ids_are_64_hexadecimal_digits_and_their_short_form_is_no_number() -> None:
    ids = {new_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(is_id(value) and not short_id(value).isdigit() for value in ids)


def test_a_digest_has_a_short_form_too() -> None:
    assert short_id("sha256:" + "ab" * 32) == "abababababab"


@pytest.mark.parametrize("name", ["ab", "a.b-c_d", "0x", "Web.1"])
def test_names_of_letters_digits_and_three_signs_are_good(name: str) -> None:
    assert is_name(name)
    assert check_container_name("/" + name) == name


@pytest.mark.parametrize("name", ["", "a", "-a", ".a", "a/b", "a b", "//ab", "ä1", "ab\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_container_name(name)
    assert caught.value.message == f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"


def test_random_names_are_names_and_get_a_digit_when_taken() -> None:
    assert all(is_name(random_name()) for _ in range(100))
    assert random_name(1)[-1].isdigit()


def test_chain_ids_name_a_layer_with_all_below_it() -> None:
    first, second = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    assert chain_ids([first]) == [first]
    chained = chain_ids([first, second])
    assert chained[0] == first
    assert chained[1] not in (first, second)
    assert chained[1] == "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
