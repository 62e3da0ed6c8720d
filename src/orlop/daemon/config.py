"""The daemon's configuration: flags and ``daemon.json``, checked and typed.

Pure but for reading the file. A setting comes from a flag or from the file, never from both; what neither names has
its default. Texts of errors are dockerd's.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orlop.build.policy import BuilderGC
from orlop.daemon import flags
from orlop.daemon.builder import parse_builder
from orlop.daemon.flags import Flag
from orlop.daemon.table import BY_KEY, DEFAULTS, FILE_ONLY, FLAGS
from orlop.engine.config import EngineConfig
from orlop.errors import Error, InvalidArgument
from orlop.formats.units import parse_binary_size
from orlop.model.api.container import Ulimit
from orlop.registry.client.config import RegistryConfig

__all__ = ["Settings", "TLSFiles", "load", "parse_command_line"]

_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_PYTHON_KINDS: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "string": (str,), "list": (list,)}


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The files of TLS (PEM); without `ca` clients need no certificate."""

    certificate: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the daemon is told.

    `plain_tcp` says that TCP without client certificates was asked for in so many words; `from_file` names the flags
    whose values the file sets.
    """

    engine: EngineConfig
    config_file: str
    hosts: tuple[str, ...]
    pidfile: Path
    group: str
    group_chosen: bool
    log_level: str
    log_format: str
    tls: TLSFiles | None
    plain_tcp: bool
    from_file: frozenset[str]


def parse_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the flags that are given. Raises `InvalidArgument`."""
    values, words = flags.parse(arguments, FLAGS)
    if words:
        raise InvalidArgument('"orlopd" accepts no arguments.')
    return values


def load(given: Mapping[str, Any]) -> Settings:
    """Return the settings of the flags that are `given` and of the configuration file that they name, or the default.

    Raises `errors.Error`: a flag or key that Orlop lacks, a conflict, a wrong value, a file that cannot be read.
    """
    for flag in FLAGS:
        if flag.name in given:
            _check_had(flag, given[flag.name])
    path = given.get("config-file", DEFAULTS["config-file"])
    try:
        from_file = _read_file(path, must_exist="config-file" in given)
        _check_conflicts(given, from_file)
        values = {flag.name: _file_value(flag, from_file[key]) for key, flag in BY_KEY.items() if key in from_file}
        if "builder" in from_file:
            values["builder"] = parse_builder(from_file["builder"])
    except Error as error:
        raise InvalidArgument(f"unable to configure the Docker daemon with file {path}: {error}") from None
    return _settings(given, values)


def _check_had(flag: Flag, value: Any) -> None:
    if not flag.lacks or _go_text(value) in flag.only:
        return
    what = f"--{flag.name}={_go_text(value)}" if flag.only else f"--{flag.name}"
    raise InvalidArgument(f"orlopd does not have {what} (a flag of dockerd): {flag.lacks}")


def _read_file(path: str, must_exist: bool) -> dict[str, Any]:
    """Return the file's keys, known ones only."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        if must_exist:
            raise InvalidArgument(f"open {path}: no such file or directory") from None
        return {}
    except OSError as error:
        raise InvalidArgument(f"open {path}: {error.strerror}") from None
    if not text.strip():
        return {}
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(str(error)) from None
    if not isinstance(document, dict):
        raise InvalidArgument("the configuration has to be a JSON object")
    unknown = [key for key in document if key not in BY_KEY and key not in FILE_ONLY]
    if unknown:
        raise InvalidArgument(f"the following directives don't match any configuration option: {', '.join(unknown)}")
    for key, value in document.items():
        flag = BY_KEY.get(key)
        lacks = FILE_ONLY[key] if flag is None else flag.lacks
        if lacks and (flag is None or _go_text(value) not in flag.only):
            raise InvalidArgument(f'orlopd does not have the directive "{key}": {lacks}')
    return document


def _check_conflicts(given: Mapping[str, Any], from_file: Mapping[str, Any]) -> None:
    conflicts = [
        f"{key}: (from flag: {_go_text(given[flag.name])}, from file: {_go_text(from_file[key])})"
        for key, flag in sorted(BY_KEY.items(), key=lambda entry: entry[1].name)
        if flag.name in given and key in from_file
    ]
    if conflicts:
        raise InvalidArgument(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )


def _file_value(flag: Flag, value: Any) -> Any:
    """Return a value of the file in the form of the flag's."""
    key = flag.file_key
    if flag.name == "log-opt":
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise InvalidArgument(f"{key}: expected an object of strings")
        return [f"{name}={item}" for name, item in value.items()]
    if flag.name == "default-ulimit":
        return _file_ulimits(value)
    if flag.name == "default-shm-size" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    wrong = not isinstance(value, _PYTHON_KINDS[flag.kind]) or (flag.kind == "int" and isinstance(value, bool))
    if wrong or (flag.kind == "list" and not all(isinstance(item, str) for item in value)):
        kind = {"bool": "true or false", "int": "a number", "string": "a string", "list": "a list of strings"}
        raise InvalidArgument(f"{key}: expected {kind[flag.kind]}, got {json.dumps(value)}")
    return value


def _file_ulimits(value: Any) -> list[str]:
    try:
        return [
            f"{name}={item['Soft']}" + (f":{item['Hard']}" if "Hard" in item else "") for name, item in value.items()
        ]
    except (AttributeError, KeyError, TypeError):
        raise InvalidArgument(
            'default-ulimits: expected an object such as {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}'
        ) from None


def _settings(given: Mapping[str, Any], from_file: Mapping[str, Any]) -> Settings:
    values = {**DEFAULTS, **from_file, **given}
    get = values.get
    exec_root = _absolute(values, "exec-root")
    level = "debug" if get("debug") else values["log-level"]
    if level not in _LEVELS:
        raise InvalidArgument(f"invalid logging level: {level}")
    if values["log-format"] not in ("text", "json"):
        raise InvalidArgument(f"invalid log format: {values['log-format']}")
    return Settings(
        engine=_engine_config(values),
        config_file=values["config-file"],
        hosts=tuple(dict.fromkeys(get("host") or [f"unix://{exec_root}/orlop.sock"])),
        pidfile=Path(get("pidfile") or exec_root / "orlopd.pid"),
        group=values["group"],
        group_chosen="group" in given or "group" in from_file,
        log_level=level,
        log_format=values["log-format"],
        tls=_tls(values),
        plain_tcp=get("tlsverify") is False or (get("tls") is False and "tlsverify" not in values),
        from_file=frozenset(from_file),
    )


def _engine_config(values: Mapping[str, Any]) -> EngineConfig:
    get = values.get
    mtu = get("mtu", 0)
    if mtu < 0:
        raise InvalidArgument(f"invalid default MTU: {mtu}")
    if get("default-cgroupns-mode", "") not in ("", "host", "private"):
        raise InvalidArgument(f"invalid default cgroup namespace mode: {get('default-cgroupns-mode')}")
    _check_transfers(values)
    builder_gc, insecure = get("builder", (BuilderGC(), False))
    registries = RegistryConfig(tuple(get("insecure-registry", ())), tuple(get("registry-mirror", ()))).check()
    return EngineConfig(
        data_root=_absolute(values, "data-root"),
        exec_root=_absolute(values, "exec-root"),
        bridge=get("bridge", ""),
        bip=_network(get("bip", ""), "bip"),
        fixed_cidr6=_network(get("fixed-cidr-v6", ""), "fixed-cidr-v6"),
        ipv6=get("ipv6", False),
        mtu=mtu,
        icc=values["icc"],
        ip_forward=values["ip-forward"],
        ip_masq=values["ip-masq"],
        default_ip=_address(get("ip", "")),
        dns=tuple(_address(server) for server in get("dns", ())),
        dns_options=tuple(get("dns-opt", ())),
        dns_search=tuple(get("dns-search", ())),
        default_ulimits={ulimit.name: ulimit for ulimit in map(_ulimit, get("default-ulimit", ()))},
        default_shm_size=parse_binary_size(get("default-shm-size", "64m")),
        default_cgroupns_mode=get("default-cgroupns-mode", ""),
        cgroup_parent=get("cgroup-parent", ""),
        init=get("init", False),
        init_path=get("init-path", ""),
        log_driver=values["log-driver"],
        log_options=_pairs(get("log-opt", ()), "log-opt"),
        labels=_labels(get("label", ())),
        no_new_privileges=get("no-new-privileges", False),
        seccomp_profile=get("seccomp-profile", ""),
        shutdown_timeout=values["shutdown-timeout"],
        debug=get("debug", False),
        trace=get("trace", False),
        insecure_registries=registries.insecure,
        registry_mirrors=registries.mirrors,
        max_concurrent_downloads=values["max-concurrent-downloads"],
        max_concurrent_uploads=values["max-concurrent-uploads"],
        max_download_attempts=values["max-download-attempts"],
        builder_gc=builder_gc,
        build_insecure=insecure,
        hosts=tuple(get("host") or ()),
    )


def _check_transfers(values: Mapping[str, Any]) -> None:
    for name, least in (("max-concurrent-downloads", 0), ("max-concurrent-uploads", 0), ("max-download-attempts", 1)):
        if values[name] < least:
            raise InvalidArgument(f"invalid {name.replace('-', ' ')}: {values[name]}")


def _tls(values: Mapping[str, Any]) -> TLSFiles | None:
    """Return the files of TLS, None without it. Whoever says `tlsverify` at all means TLS, and TLS means verified."""
    verify = values.get("tlsverify")
    if verify is None and not values.get("tls"):
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker"
    return TLSFiles(
        certificate=values.get("tlscert", f"{directory}/cert.pem"),
        key=values.get("tlskey", f"{directory}/key.pem"),
        ca="" if verify is False else values.get("tlscacert", f"{directory}/ca.pem"),
    )


def _absolute(values: Mapping[str, Any], name: str) -> Path:
    if not values[name]:
        raise InvalidArgument(f"--{name} must not be empty")
    return Path(values[name]).absolute()


def _address(text: str) -> str:
    if text:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise InvalidArgument(f"invalid IP address: {text}") from None
    return text


def _network(text: str, name: str) -> str:
    if text:
        try:
            ipaddress.ip_interface(text)
        except ValueError:
            raise InvalidArgument(f"invalid value for --{name}: invalid CIDR address: {text}") from None
        if "/" not in text:
            raise InvalidArgument(f"invalid value for --{name}: invalid CIDR address: {text}")
    return text


def _pairs(entries: Iterable[str], name: str) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not key or not separator:
            raise InvalidArgument(f"invalid argument for --{name}: {entry} is not of the form key=value")
        pairs[key] = value
    return pairs


def _labels(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the labels without repetitions; one key with two values is a conflict."""
    values: dict[str, str] = {}
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not key or not separator:
            raise InvalidArgument(f"invalid label '{entry}': not of the form key=value")
        if values.setdefault(key, value) != value:
            raise InvalidArgument(f"conflict labels for {key}={value} and {key}={values[key]}")
    return tuple(f"{key}={value}" for key, value in values.items())


def _ulimit(text: str) -> Ulimit:
    name, separator, limits = text.partition("=")
    if not separator:
        raise InvalidArgument(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    soft_text, _, hard_text = limits.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if hard_text else soft
    except ValueError:
        raise InvalidArgument(f"invalid ulimit argument: {text}") from None
    if hard != -1 and (soft > hard or soft == -1):
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def _go_text(value: Any) -> str:
    """Return a value as Go prints it (``%v``)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(_go_text, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go_text(item)}' for key, item in sorted(value.items()))}]"
    return "<nil>" if value is None else str(value)
