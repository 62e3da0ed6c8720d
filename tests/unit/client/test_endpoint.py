"""Which daemon is meant by flags, environment and configuration."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from orlop.client.config import ConfigFile, config_directory
from orlop.client.endpoint import DEFAULT_HOST, Selection, parse_host, resolve
from orlop.errors import Error


def host(tmp_path: Path, environment: dict[str, str], **flags: str) -> str:
    return resolve(Selection(**flags), environment, ConfigFile(str(tmp_path))).host  # type: ignore[arg-type]


def add_context(directory: Path, name: str, address: str, **fields: object) -> Path:
    key = sha256(name.encode()).hexdigest()
    meta = directory / "contexts/meta" / key / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": address, **fields}}}))
    return directory / "contexts/tls" / key / "docker"


def test_the_order_is_flag_context_orlop_docker_context_configuration_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "current"}))
    for name in ("flag", "current", "env"):
        add_context(tmp_path, name, f"unix:///{name}")
    everything = {"ORLOP_HOST": "unix:///o", "DOCKER_HOST": "unix:///d", "DOCKER_CONTEXT": "env"}
    assert host(tmp_path, everything, host="unix:///h") == "unix:///h"
    assert host(tmp_path, everything, context="flag") == "unix:///flag"
    assert host(tmp_path, everything) == "unix:///o"
    assert host(tmp_path, {**everything, "ORLOP_HOST": ""}) == "unix:///d"
    assert host(tmp_path, {"DOCKER_CONTEXT": "env"}) == "unix:///env"
    assert host(tmp_path, {}) == "unix:///current"
    assert host(tmp_path / "none", {}) == DEFAULT_HOST


def test_contradictions_and_unknown_contexts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot specify both --host and --context"):
        host(tmp_path, {}, host="unix:///a", context="b")
    with pytest.raises(Error, match='context "b": context not found'):
        host(tmp_path, {}, context="b")


@pytest.mark.parametrize(
    ("text", "tls", "expected"),
    [
        ("unix:///a/b", False, ("unix:///a/b", "unix", "/a/b")),
        ("unix://", False, (DEFAULT_HOST, "unix", "/run/orlop/orlop.sock")),
        ("tcp://h", False, ("tcp://h:2375", "tcp", "h:2375")),
        ("tcp://h", True, ("tcp://h:2376", "tcp", "h:2376")),
        ("h:5", False, ("tcp://h:5", "tcp", "h:5")),
        ("tcp://[::1]:9/", False, ("tcp://[::1]:9", "tcp", "[::1]:9")),
        ("tcp://[::1]", False, ("tcp://[::1]:2375", "tcp", "[::1]:2375")),
        ("tcp://", False, ("tcp://localhost:2375", "tcp", "localhost:2375")),
        ("ssh://u@h:22", False, ("ssh://u@h:22", "ssh", "u@h:22")),
    ],
)
def test_hosts_are_taken_apart(text: str, tls: bool, expected: tuple[str, str, str]) -> None:
    assert parse_host(text, tls=tls) == expected


@pytest.mark.parametrize("text", ["http://a", "tcp://a:b", "npipe:////x"])
def test_other_hosts_are_refused(text: str) -> None:
    with pytest.raises(Error, match="invalid bind address format"):
        parse_host(text)


def test_tls_comes_from_flags_environment_or_the_context(tmp_path: Path) -> None:
    certificates = tmp_path / "certs"
    certificates.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (certificates / name).touch()
    environment = {"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    endpoint = resolve(Selection(), environment, ConfigFile(str(tmp_path)))
    assert endpoint.host == "tcp://h:2376"
    assert endpoint.tls is not None
    assert (endpoint.tls.verify, endpoint.tls.ca) == (True, str(certificates / "ca.pem"))
    assert resolve(Selection(tls=True, ca="/x"), environment, ConfigFile(str(tmp_path))).tls.ca == "/x"  # type: ignore[union-attr]
    files = add_context(tmp_path, "secure", "tcp://s", SkipTLSVerify=True)
    files.mkdir(parents=True)
    (files / "ca.pem").touch()
    secure = resolve(Selection(context="secure"), {}, ConfigFile(str(tmp_path)))
    assert secure.tls is not None
    assert (secure.host, secure.tls.verify, secure.tls.ca) == ("tcp://s:2376", False, str(files / "ca.pem"))
    assert resolve(Selection(host="unix:///a", tls=True), {}, ConfigFile(str(tmp_path))).tls is None


def test_a_broken_configuration_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    config = ConfigFile(str(tmp_path))
    assert "Error parsing config file" in config.problem
    assert config.text("currentContext") == ""
    assert ConfigFile(str(tmp_path / "none")).problem == ""
    assert config_directory({"HOME": "/h"}) == "/h/.docker"
    assert config_directory({"HOME": "/h", "DOCKER_CONFIG": "/c"}) == "/c"
