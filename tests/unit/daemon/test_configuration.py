from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orlop.build.policy import BuilderGC, Rule
from orlop.daemon import config, main
from orlop.daemon.config import Settings
from orlop.daemon.table import BY_KEY, DEFAULTS, FILE_ONLY
from orlop.errors import Error, InvalidArgument
from orlop.model.api.container import Ulimit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    return path


def load(file: Path, line: str = "", document: Any = None) -> Settings:
    if document is not None:
        file.write_text(document if isinstance(document, str) else json.dumps(document))
    return config.load(config.parse_command_line([f"--config-file={file}", *line.split()]))


def refused(file: Path, line: str = "", document: Any = None) -> str:
    with pytest.raises(InvalidArgument) as caught:
        load(file, line, document)
    return caught.value.message


def test_without_anything_the_defaults_hold(file: Path) -> None:
    found = load(file)
    assert found.hosts == ("unix:///run/orlop/orlop.sock",)
    assert (found.pidfile, found.group, found.tls) == (Path("/run/orlop/orlopd.pid"), "docker", None)
    assert (found.engine.data_root, found.engine.exec_root) == (Path("/var/lib/orlop"), Path("/run/orlop"))
    assert (found.engine.icc, found.engine.shutdown_timeout, found.engine.default_shm_size) == (True, 15, 64 << 20)


def test_flags_are_carried_to_the_engine(file: Path) -> None:
    line = (
        "--data-root /d --exec-root /e -H unix:///a -H tcp://:1 --bip 10.1.0.1/24 -b br0 --mtu 1400 --dns 1.1.1.1 "
        "--dns-search a.b --ip 127.0.0.1 --default-ulimit nofile=10:20 --icc=false --label a=b --log-opt max-size=1m "
        "--default-shm-size 1g --cgroup-parent p --init -p /pid -G 0 -D"
    )
    found = load(file, line)
    engine = found.engine
    assert (engine.data_root, engine.exec_root) == (Path("/d"), Path("/e"))
    assert found.hosts == ("unix:///a", "tcp://:1")
    assert (engine.bip, engine.bridge, engine.mtu, engine.default_ip) == ("10.1.0.1/24", "br0", 1400, "127.0.0.1")
    assert (engine.dns, engine.dns_search, engine.icc) == (("1.1.1.1",), ("a.b",), False)
    assert engine.default_ulimits == {"nofile": Ulimit(name="nofile", soft=10, hard=20)}
    assert (engine.labels, engine.log_options) == (("a=b",), {"max-size": "1m"})
    assert (engine.default_shm_size, engine.cgroup_parent, engine.init) == (1 << 30, "p", True)
    assert (found.pidfile, found.group, found.log_level) == (Path("/pid"), "0", "debug")


def test_the_file_has_dockers_keys(file: Path) -> None:
    document = {
        "hosts": ["unix:///a"],
        "labels": ["a=b"],
        "log-opts": {"max-file": "3"},
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
        "default-shm-size": 1048576,
        "debug": True,
        "icc": False,
        "mtu": 1300,
        "live-restore": True,
        "storage-driver": "overlay2",
    }
    found = load(file, document=document)
    assert (found.hosts, found.engine.labels, found.log_level) == (("unix:///a",), ("a=b",), "debug")
    assert (found.engine.log_options, found.engine.mtu, found.engine.icc) == ({"max-file": "3"}, 1300, False)
    assert found.engine.default_ulimits == {"nofile": Ulimit(name="nofile", soft=1, hard=2)}
    assert found.engine.default_shm_size == 1 << 20
    assert "host" in found.from_file


def test_the_file_says_how_much_of_the_build_cache_is_kept(file: Path) -> None:
    assert load(file).engine.builder_gc == BuilderGC()
    gc = {
        "enabled": True,
        "defaultKeepStorage": "20GB",
        "policy": [{"keepStorage": "1kb", "filter": ["unused-for=48h", "type=regular"]}, {"all": True}],
    }
    found = load(file, document={"builder": {"gc": gc, "entitlements": {"security-insecure": True}}}).engine
    assert found.build_insecure
    assert found.builder_gc.reserved == 20 << 30
    assert found.builder_gc.rules(disk=0, now=0) == (
        Rule(keep_duration=48 * 3600 * 10**9, reserved=1024, fields={"type": "regular"}),
        Rule(all=True, reserved=20 << 30),
    )


def test_a_file_that_is_missing_is_an_error_only_when_it_was_named(tmp_path: Path, monkeypatch: Any) -> None:
    missing = tmp_path / "none.json"
    assert refused(missing) == (
        f"unable to configure the Docker daemon with file {missing}: open {missing}: no such file or directory"
    )
    monkeypatch.setattr("orlop.daemon.config.DEFAULTS", {**DEFAULTS, "config-file": str(missing)})
    assert config.load({}).config_file == str(missing)


def test_conflicts_of_flag_and_file_are_told_as_dockerd_does(file: Path) -> None:
    text = refused(file, "--debug -H unix:///a --label x=y", {"debug": False, "hosts": ["unix:///b"], "labels": []})
    assert text == (
        f"unable to configure the Docker daemon with file {file}: "
        "the following directives are specified both as a flag and in the configuration file: "
        "debug: (from flag: true, from file: false), "
        "hosts: (from flag: [unix:///a], from file: [unix:///b]), "
        "labels: (from flag: [x=y], from file: [])"
    )


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"colour": 1, "debug": True}, "the following directives don't match any configuration option: colour"),
        ("[]", "the configuration has to be a JSON object"),
        ("{", "Expecting property name"),
        ({"mtu": "1500"}, 'mtu: expected a number, got "1500"'),
        ({"mtu": True}, "mtu: expected a number, got true"),
        ({"debug": "yes"}, 'debug: expected true or false, got "yes"'),
        ({"dns": "1.1.1.1"}, "dns: expected a list of strings"),
        ({"log-opts": ["a=b"]}, "log-opts: expected an object of strings"),
        ({"default-ulimits": {"nofile": 5}}, "default-ulimits: expected an object"),
        ({"userns-remap": "default"}, 'orlopd does not have the directive "userns-remap": '),
        ({"builder": {"history": {"maxAge": 1}}}, 'orlopd does not have the directive "builder.history": '),
        ({"builder": {"gc": {"enabled": "yes"}}}, "builder.gc.enabled: expected true or false"),
        (
            {"builder": {"gc": {"defaultKeepStorage": "much"}}},
            "could not parse 'much' as Builder.GC.DefaultKeepStorage config: invalid size: 'much'",
        ),
        ({"builder": {"gc": {"policy": [{"filter": ["label=x"]}]}}}, "invalid filter 'label'"),
        ({"builder": {"gc": {"policy": [{"keep": "1GB"}]}}}, "builder.gc.policy.keep"),
        ({"builder": {"entitlements": {"network-host": False}}}, '"builder.entitlements.network-host" false'),
        ({"live-restore": False}, 'orlopd does not have the directive "live-restore": '),
    ],
)
def test_what_is_wrong_in_the_file_is_named(file: Path, document: Any, text: str) -> None:
    assert text in refused(file, document=document)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--userns-remap=default", "orlopd does not have --userns-remap (a flag of dockerd): "),
        ("--userland-proxy", "orlopd does not have --userland-proxy=true (a flag of dockerd): "),
        ("--storage-driver btrfs", "orlopd does not have --storage-driver=btrfs (a flag of dockerd): "),
        ("--exec-opt a=b", "orlopd does not have --exec-opt (a flag of dockerd): "),
        ("--bogus", "unknown flag: --bogus"),
        ("word", '"orlopd" accepts no arguments.'),
        ("--log-level loud", "invalid logging level: loud"),
        ("--log-format xml", "invalid log format: xml"),
        ("--mtu -5", "invalid default MTU: -5"),
        ("--dns resolver", "invalid IP address: resolver"),
        ("--bip 10.0.0.1", "invalid CIDR address: 10.0.0.1"),
        ("--bip 10.0.0.300/8", "invalid CIDR address: 10.0.0.300/8"),
        ("--label a", "invalid label 'a'"),
        ("--label a=b --label a=c", "conflict labels for a=c and a=b"),
        ("--default-ulimit nofile", "invalid ulimit argument: nofile"),
        ("--default-ulimit files=1", "invalid ulimit type: files"),
        ("--default-ulimit nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
        ("--default-shm-size lots", "invalid size: 'lots'"),
        ("--data-root=", "--data-root must not be empty"),
    ],
)
def test_what_is_wrong_with_a_flag_is_named(file: Path, line: str, text: str) -> None:
    assert text in refused(file, line)


@pytest.mark.parametrize(
    "line", ["--userland-proxy=false", "--iptables", "--live-restore", "-s overlay2", "--experimental=0"]
)
def test_the_value_of_dockerd_that_orlop_always_has_is_accepted(file: Path, line: str) -> None:
    load(file, line)


@pytest.mark.parametrize(
    ("line", "certificates", "plain"),
    [
        ("", None, False),
        ("--tls=false", None, True),
        ("--tls --tlscert c --tlskey k --tlscacert a", ("c", "k", "a"), False),
        ("--tlsverify --tlscert c --tlskey k --tlscacert a", ("c", "k", "a"), False),
        ("--tls --tlsverify=false --tlscert c --tlskey k", ("c", "k", ""), True),
        ("--tls=false --tlsverify --tlscert c --tlskey k --tlscacert a", ("c", "k", "a"), False),
        ("--tlsverify=false --tlscert c --tlskey k", ("c", "k", ""), True),
    ],
)
def test_tls_is_what_dockerd_makes_of_its_flags(file: Path, line: str, certificates: Any, plain: bool) -> None:
    found = load(file, line)
    assert (found.tls and (found.tls.certificate, found.tls.key, found.tls.ca)) == certificates
    assert found.plain_tcp is plain


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2)
documents = st.dictionaries(
    st.sampled_from([*BY_KEY, *FILE_ONLY, "unheard-of"]),
    values | st.dictionaries(st.text(max_size=3), values),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
def test_any_file_is_settings_or_an_error(file: Path, document: dict[str, Any]) -> None:
    with contextlib.suppress(Error):
        assert isinstance(load(file, document=document), Settings)


def test_validate_says_ok_or_what_is_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([f"--config-file={file}", "--validate"]) == 0
    assert capsys.readouterr().err == "configuration OK\n"
    assert main.run([f"--config-file={file}", "--validate", "--mtu=-1"]) == 1
    assert capsys.readouterr().err == "invalid default MTU: -1\nSee 'orlopd --help'.\n"


def test_version_and_help_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["-v"]) == 0
    assert capsys.readouterr().out.startswith("Orlop version ")
    assert main.run(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert "-H, --host list" in help_text
    assert "userns-remap" not in help_text


def test_registries_and_transfers_are_told_by_flags_or_the_file(file: Path) -> None:
    engine = load(file).engine
    assert (engine.max_concurrent_downloads, engine.max_concurrent_uploads, engine.max_download_attempts) == (3, 5, 5)
    document = {
        "insecure-registries": ["10.0.0.0/8", "reg:5000"],
        "registry-mirrors": ["https://mirror"],
        "max-concurrent-downloads": 7,
    }
    engine = load(file, "--max-download-attempts 2", document).engine
    assert (engine.insecure_registries, engine.registry_mirrors) == (("10.0.0.0/8", "reg:5000"), ("https://mirror",))
    assert (engine.max_concurrent_downloads, engine.max_download_attempts) == (7, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--max-concurrent-downloads=-1", "invalid max concurrent downloads: -1"),
        ("--max-concurrent-uploads=-1", "invalid max concurrent uploads: -1"),
        ("--max-download-attempts=0", "invalid max download attempts: 0"),
        ("--insecure-registry=http://reg", "insecure registry http://reg should not contain '://'"),
        ("--registry-mirror=ftp://m", 'invalid mirror: unsupported scheme "ftp" in "ftp://m"'),
        ("--http-proxy=http://p", "orlopd does not have --http-proxy (a flag of dockerd): set HTTP_PROXY, "
         "HTTPS_PROXY and NO_PROXY in the daemon's environment"),
    ],
)  # fmt: skip
def test_wrong_settings_of_registries_are_refused(file: Path, line: str, message: str) -> None:
    assert refused(file, line) == message
