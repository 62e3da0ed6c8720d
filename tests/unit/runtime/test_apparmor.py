"""The text of the AppArmor profile; entering it needs a kernel that has AppArmor."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from orlop.runtime import apparmor


def test_the_profile_stands_without_the_files_of_the_distribution() -> None:
    text = apparmor.profile(tunables=False, abstractions=False)
    assert "#include" not in text
    assert text.startswith("@{PROC}=/proc/\n")
    assert "deny mount," in text
    assert text.count("{\n") == text.count("\n}\n") == 1


def test_the_parser_takes_the_profile() -> None:
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if parser is None:
        pytest.skip("needs apparmor_parser")
    text = apparmor.profile(tunables=False, abstractions=False)
    done = subprocess.run([parser, "-QK"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kernel_without_apparmor_gets_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "enabled", lambda: False)
    assert not apparmor.load_default()
