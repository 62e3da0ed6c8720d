"""`orlop update`."""

from __future__ import annotations

from typing import Any

from orlop import errors
from orlop.cli.command import at_least, command
from orlop.cli.create.values import restart_policy
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import INT64, STRING, UINT16, Flag, Options
from orlop.cli.kinds import BYTES, DECIMAL, SWAP
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["update"]


@command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    at_least(1),
    flags=(
        Flag("blkio-weight", "", UINT16, "Share of block I/O, 10 to 1000, 0 for the default"),
        Flag("cpu-period", "", INT64, "Period of the CPU quota in microseconds"),
        Flag("cpu-quota", "", INT64, "CPU time in a period, in microseconds"),
        Flag("cpu-rt-period", "", INT64, "Period of the real-time quota in microseconds"),
        Flag("cpu-rt-runtime", "", INT64, "Real-time CPU time in a period, in microseconds"),
        Flag("cpu-shares", "c", INT64, "Share of CPU time"),
        Flag("cpus", "", DECIMAL, "Number of CPUs"),
        Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
        Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
        Flag("*kernel-memory", "", BYTES, "Limit of kernel memory"),
        Flag("memory", "m", BYTES, "Limit of memory"),
        Flag("memory-reservation", "", BYTES, "Memory that stays when the host runs short"),
        Flag("memory-swap", "", SWAP, "Limit of memory and swap together, -1 for none"),
        Flag("pids-limit", "", INT64, "Most processes, -1 for no limit"),
        Flag("restart", "", STRING, "When to restart the container"),
    ),
    complete="container",
)
def update(session: Session, options: Options, arguments: list[str]) -> None:
    """Change the limits or the restart policy of containers."""
    if not options.any_given:
        raise CommandError("you must provide one or more flags when using this command")
    body = _body(options)
    warnings: list[str] = []
    failed: list[str] = []
    for name in arguments:
        try:
            warnings += session.engine.do(calls.container_update(name, body)).get("Warnings") or ()
        except errors.Error as error:
            failed.append(daemon_message(error))
        else:
            session.print(name)
    if warnings:
        session.print("\n".join(warnings))
    if failed:
        raise CommandError("\n".join(failed))


def _body(options: Options) -> dict[str, Any]:
    try:
        restart = restart_policy(options.restart) if options.restart else {"Name": "", "MaximumRetryCount": 0}
    except ValueError as error:
        raise CommandError(str(error)) from None
    body: dict[str, Any] = {
        "BlkioWeight": options.blkio_weight,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "CpuShares": options.cpu_shares,
        "Memory": options.memory,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": options.memory_swap,
        "KernelMemory": options.kernel_memory,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "NanoCpus": options.cpus,
        "RestartPolicy": restart,
    }
    if options.pids_limit:
        body["PidsLimit"] = options.pids_limit
    return body
