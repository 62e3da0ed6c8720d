"""From the flags of `orlop build` to the body of the request; what is not served is refused by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orlop.cli.build.flags import CALLS, DISPLAYS
from orlop.cli.failure import CommandError
from orlop.cli.flags import Options

__all__ = ["Asked", "build_arguments", "read_options"]

Json = dict[str, Any]

_LATER = "--{} is not in this version of Orlop"
_REFUSED = {
    "allow": _LATER,
    "annotation": _LATER,
    "attest": _LATER,
    "cache-to": "--{} is not in this version of Orlop: every image that Orlop has built serves as --cache-from",
    "metadata-file": _LATER,
    "push": "--{} is not in this version of Orlop: build with --tag, then use orlop push",
    "secret": _LATER,
    "ssh": _LATER,
}
_SQUASH = (
    "--squash is not supported: a squashed image shares no layer with any other, and no step of it can serve as cache; "
    "copy the files of the last stage into a new one (FROM scratch, COPY --from=0 / /) instead"
)
_ATTESTATIONS = ("provenance", "sbom")
_NOTHING = ("", "0", "false")
_LOADS = ("", "docker", "image")


class Asked:
    """What is to be done. `call` is one of `CALLS`; `as_json` and `ignore_status` are its options.

    `body` lacks only the contexts and the Dockerfile; `contexts` are the named ones, as they were written.
    """

    __slots__ = ("as_json", "body", "call", "contexts", "display", "ignore_status")

    def __init__(self, options: Options, display: str) -> None:
        self.call, self.as_json, self.ignore_status = _call(options)
        self.display = display
        self.contexts: Mapping[str, str] = options.build_context
        self.body = _body(options, self.call)


def read_options(options: Options) -> Asked:
    """Return what the flags ask for; raise `CommandError` for what makes no sense or is not served."""
    _refuse(options)
    return Asked(options, _display(options))


def build_arguments(texts: Iterable[str], proxies: Mapping[str, str]) -> dict[str, str | None]:
    """Return build arguments by name, None where a name has no value; `proxies` are those of the configuration."""
    given: dict[str, str | None] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        given[name] = value if separator else None
    return {**proxies, **given}


def _refuse(options: Options) -> None:
    if options.squash:
        raise CommandError(_SQUASH)
    for name, message in _REFUSED.items():
        if getattr(options, name.replace("-", "_")):
            raise CommandError(message.format(name))
    for name in _ATTESTATIONS:
        if (text := getattr(options, name)) and text.lower() not in _NOTHING:
            raise CommandError(_LATER.format(name))
    for text in options.output:
        if not _is_loaded(text):
            raise CommandError("--output is not in this version of Orlop: images go to the daemon's store")
    if not options.disable_content_trust:
        raise CommandError("content trust is not supported: images are verified by their digests")
    if options.isolation not in ("", "default"):
        raise CommandError(f"--isolation {options.isolation} is not supported: steps run in containers of Linux")
    if options.security_opt:
        raise CommandError("--security-opt is not supported for builds: steps have the security options of containers")
    if options.stop_after and options.on_failure:
        raise CommandError("conflicting options: cannot specify both --stop-after and --on-failure")


def _is_loaded(output: str) -> bool:
    """Say whether ``--output`` asks for what a build does anyway."""
    fields = dict(field.partition("=")[::2] for field in output.split(","))
    return fields.get("type", "") in _LOADS and not fields.keys() - {"type"}


def _display(options: Options) -> str:
    display: str = options.progress
    if display not in DISPLAYS:
        raise CommandError(f"invalid progress mode {display}: must be one of {', '.join(DISPLAYS)}")
    return "quiet" if options.quiet or display == "none" else display


def _call(options: Options) -> tuple[str, bool, bool]:
    name, *settings = options.call.split(",")
    if options.check:
        if options.given("call") and name not in ("check", "lint"):
            raise CommandError("--check and --call are both given, and ask for different things")
        name = "check"
    name = {"": "build", "lint": "check"}.get(name, name)
    if name not in CALLS:
        raise CommandError(f"invalid call {name}: must be one of {', '.join(CALLS)}")
    as_json = ignore_status = False
    for setting in settings:
        key, _, value = setting.partition("=")
        if key == "format" and value in ("json", "text"):
            as_json = value == "json"
        elif key == "ignorestatus" and value in ("", "true", "false"):
            ignore_status = value != "false"
        else:
            raise CommandError(f"invalid --call option {setting}: there is format=text, format=json, ignorestatus=true")
    return name, as_json, ignore_status


def _body(options: Options, call: str) -> Json:
    labels = dict(text.partition("=")[::2] for text in options.label)
    body: Json = {
        "Target": options.target,
        "Labels": labels,
        "Names": options.tag,
        "Platform": options.platform,
        "NoCache": options.no_cache,
        "NoCacheStages": options.no_cache_filter,
        "Pull": options.pull,
        "CacheFrom": options.cache_from,
        "Network": options.network,
        "Hosts": options.add_host,
        "Ulimits": list(options.ulimit.values()),
        "ShmSize": options.shm_size,
        "Limits": _limits(options),
        "KeepFailed": bool(options.on_failure),
        "StopAfter": options.stop_after,
        "Check": call == "check",
        "Call": call,
    }
    return {name: value for name, value in body.items() if value}


def _limits(options: Options) -> Json:
    limits = {
        "Memory": options.memory,
        "MemorySwap": options.memory_swap,
        "CpuShares": options.cpu_shares,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "CgroupParent": options.cgroup_parent,
    }
    return {name: value for name, value in limits.items() if value}
