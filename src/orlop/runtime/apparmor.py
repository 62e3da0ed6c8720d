"""AppArmor: the profile ``docker-default``, which containers enter where the kernel has AppArmor.

A profile reaches the kernel through ``apparmor_parser``. A kernel with AppArmor on a machine without that program (or
inside a container) is treated as one without AppArmor, as dockerd does. `load_default` is called when the daemon
starts, before the facts are read, and again when the profile has gone missing (packages reload all profiles).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from orlop.errors import Internal

__all__ = ["NAME", "enabled", "load_default", "loaded", "profile"]

NAME = "docker-default"

_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PROFILES = "/sys/kernel/security/apparmor/profiles"
_CONFIGURATION = "/etc/apparmor.d"
_PARSER_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 30

# Whatever the container's uid 0 may do by its capabilities, it does not write to these: the kernel's own settings
# outside of the container's namespaces, and devices' below /sys but for its cgroups.
_DENIED = """\
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,
  deny mount,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
"""


def profile(*, tunables: bool, abstractions: bool) -> str:
    """Return the profile's text; the flags say whether the machine has the files that it would include."""
    head = "#include <tunables/global>" if tunables else "@{PROC}=/proc/"
    base = "  #include <abstractions/base>\n" if abstractions else ""
    return (
        f"{head}\n\n"
        f"profile {NAME} flags=(attach_disconnected,mediate_deleted) {{\n"
        f"{base}"
        "  network,\n  capability,\n  file,\n  umount,\n"
        # From the host's processes (the shim, who runs without a profile), and among the container's.
        "  signal (receive) peer=unconfined,\n"
        f"  signal (send,receive) peer={NAME},\n"
        f"  ptrace (trace,read,tracedby,readby) peer={NAME},\n"
        f"{_DENIED}}}\n"
    )


def enabled() -> bool:
    """Say whether this kernel confines by AppArmor."""
    return _text(_ENABLED).startswith("Y")


def loaded() -> bool:
    """Say whether the kernel has the profile."""
    return any(line.startswith(f"{NAME} (") for line in _text(_PROFILES).splitlines())


def load_default() -> bool:
    """Load the profile unless it is there; return whether it is there then.

    Blocks for as long as ``apparmor_parser`` takes. Raises `Internal` with the parser's words when it fails.
    """
    if not enabled():
        return False
    if loaded():
        return True
    parser = shutil.which("apparmor_parser", path=_PARSER_PATH)
    if parser is None or not os.access(_PROFILES, os.R_OK):
        return False
    text = profile(
        tunables=os.path.exists(f"{_CONFIGURATION}/tunables/global"),
        abstractions=os.path.exists(f"{_CONFIGURATION}/abstractions/base"),
    )
    try:
        subprocess.run([parser, "-Kr"], input=text, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise Internal(
            f"AppArmor enabled on system but the {NAME} profile could not be loaded: {error.stderr}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Internal(f"AppArmor enabled on system but the {NAME} profile could not be loaded: {error}") from error
    return loaded()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
