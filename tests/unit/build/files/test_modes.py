"""`--chmod`: what becomes of modes. The table was made by BuildKit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.files.modes import Mode
from orlop.errors import InvalidArgument

FILES = (0o4755, 0o644, 0, 0o2711)
DIRECTORIES = (0o2750, 0o1777)

TABLE = {
    # what is written: four files, two directories
    "0640": (0o640, 0o640, 0o640, 0o640, 0o640, 0o640),
    "02755": (0o2755, 0o2755, 0o2755, 0o2755, 0o2755, 0o2755),
    "u=rwX,go=rX": (0o755, 0o644, 0o644, 0o755, 0o755, 0o1755),
    "a-x,+X": (0o4755, 0o644, 0, 0o2711, 0o2751, 0o1777),
    "u-x,a+X": (0o4755, 0o644, 0, 0o2711, 0o2751, 0o1777),
    "a-rwx,u=X": (0o100, 0, 0, 0o2100, 0o2100, 0o1100),
    "=t": (0o5755, 0o1644, 0o1000, 0o3711, 0o3750, 0o1777),
    "a=t": (0o1000, 0o1000, 0o1000, 0o1000, 0o1000, 0o1000),
    "o+t": (0o4755, 0o644, 0, 0o2711, 0o2750, 0o1777),
    "+s": (0o6755, 0o6644, 0o6000, 0o6711, 0o6750, 0o7777),
    "=s": (0o6000, 0o6000, 0o6000, 0o6000, 0o6000, 0o7000),
    "g=u": (0o4775, 0o664, 0, 0o2771, 0o2770, 0o1777),
    "u=g,o=u": (0o4555, 0o444, 0, 0o2111, 0o2555, 0o1777),
    "o=u+t": (0o4757, 0o646, 0, 0o2717, 0o2757, 0o1777),
    "a=,ug+rX": (0o550, 0o440, 0o440, 0o550, 0o550, 0o1550),
    "u=rws": (0o4655, 0o4644, 0o4600, 0o6611, 0o6650, 0o5677),
    "-X": (0o4644, 0o644, 0, 0o2600, 0o2640, 0o1666),
    "+": (0o4755, 0o644, 0, 0o2711, 0o2750, 0o1777),
}


@pytest.mark.parametrize("text", TABLE)
def test_modes_become_what_buildkit_makes_of_them(text: str) -> None:
    mode = Mode(text)
    made = [mode.applied(bits, directory=False) for bits in FILES]
    made += [mode.applied(bits, directory=True) for bits in DIRECTORIES]
    assert [f"{bits:04o}" for bits in made] == [f"{bits:04o}" for bits in TABLE[text]]


def test_directories_on_the_way_take_the_permissions_of_octal_modes_alone() -> None:
    assert [Mode(text).made for text in ("", "0700", "04711", "u=rwx,go=")] == [0o755, 0o700, 0o711, 0o755]


def test_no_mode_changes_nothing() -> None:
    assert Mode("").applied(0o4711, directory=False) == 0o4711


@pytest.mark.parametrize("text", ["999", "77777", "0o755", "u", "u=q", "u=rw,", ",", "755,u+x", "u+7", "b+x", "08"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid chmod parameter"):
        Mode(text)


@given(st.text("ugoarwxXst+-=,07", max_size=20), st.integers(0, 0o7777), st.booleans())
def test_every_text_is_refused_or_gives_a_mode(text: str, bits: int, directory: bool) -> None:
    try:
        assert 0 <= Mode(text).applied(bits, directory=directory) <= 0o7777
    except InvalidArgument:
        pass
