from pathlib import Path

import pytest

from orlop.shim.failure import CANNOT_EXECUTE, NOT_FOUND, StartError, create_message, exec_message
from orlop.shim.program import environment, find


def test_the_first_executable_in_the_path_is_taken(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/tool").mkdir()
    (tmp_path / "b/tool").write_text("")
    (tmp_path / "c/tool").write_text("")
    (tmp_path / "c/tool").chmod(0o755)
    path = ":".join(str(tmp_path / name) for name in ("missing", "a", "b", "c"))
    assert find("tool", {"PATH": path}) == str(tmp_path / "c/tool")


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("tool", NOT_FOUND, 'exec: "tool": executable file not found in $PATH'),
        ("/no/tool", NOT_FOUND, 'exec: "/no/tool": stat /no/tool: no such file or directory'),
        ("/etc/passwd", CANNOT_EXECUTE, 'exec: "/etc/passwd": permission denied'),
        ("/etc", CANNOT_EXECUTE, 'exec: "/etc": is a directory'),
        ("/etc/passwd/x", NOT_FOUND, 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
    ],
)
def test_what_cannot_be_executed_is_told_in_the_words_of_runc(name: str, code: int, text: str) -> None:
    with pytest.raises(StartError) as caught:
        find(name, {"PATH": "/nowhere"})
    assert (caught.value.text, caught.value.exit_code) == (text, code)


def test_a_program_beside_the_path_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match="relative to current directory"):
        find("tool", {"PATH": ":/bin"})


def test_of_a_variable_the_last_value_counts_and_home_is_added() -> None:
    assert environment(["A=1", "A=2", "B=x=y", "=odd", "bare"], "/home/me") == {
        "A": "2",
        "B": "x=y",
        "HOME": "/home/me",
    }
    assert environment(["HOME=/x"], "/home/me") == {"HOME": "/x"}


def test_messages_are_dockers() -> None:
    error = StartError.from_os("mount", "error mounting", NotADirectoryError(20, "Not a directory"))
    assert error.exit_code == NOT_FOUND
    assert create_message(error).startswith("failed to create task for container: failed to create shim task: OCI ")
    assert "container init: error mounting: not a directory: unknown: Are you trying to mount a dir" in create_message(
        error
    )
    assert exec_message(error).startswith(
        "OCI runtime exec failed: exec failed: unable to start container process: err"
    )
    assert StartError.from_fields(error.fields()).fields() == error.fields()
