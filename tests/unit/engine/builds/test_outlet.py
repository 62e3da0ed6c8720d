"""Records of a build on their way to one who reads them slowly, and the credentials that a build is given."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from orlop.build.progress import Began, Ended, Output, Progress
from orlop.engine.builds.credentials import Keyring
from orlop.engine.builds.outlet import WAITING, Outlet
from orlop.formats import reference


def output(size: int) -> Output:
    return Output(vertex="a", time=1, stream=1, data=b"x" * size)


def read(outlet: Outlet, records: list[Progress]) -> list[Progress]:
    async def run() -> list[Progress]:
        async def build() -> None:
            for record in records:
                outlet.report(record)
                await asyncio.sleep(0)

        return [record async for record in outlet.records(asyncio.create_task(build()))]

    return asyncio.run(run())


def test_records_come_in_their_order_and_all_of_them() -> None:
    records: list[Progress] = [Began(vertex="a", name="", time=1), output(1), Ended(vertex="a", time=2)]
    assert read(Outlet(), records) == records


def test_what_is_read_too_slowly_is_left_out_and_that_is_said() -> None:
    async def run() -> list[Progress]:
        outlet = Outlet()
        for _ in range(WAITING // 65536 + 10):
            outlet.report(output(65536))
        outlet.report(Ended(vertex="a", time=2))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return [record async for record in outlet.records(done)]

    *outputs, note, ended = asyncio.run(run())
    assert sum(len(record.data) for record in outputs if isinstance(record, Output)) <= WAITING
    assert isinstance(note, Output)
    assert f"[{10 * 65536} bytes of output were left out here" in note.data.decode()
    assert isinstance(ended, Ended)


CONFIGS = {
    "https://index.docker.io/v1/": {"username": "hub"},
    "https://reg.example/v2/": {"username": "example"},
    "other:5000": {"username": "other"},
    "broken": "x",
}


@pytest.mark.parametrize(
    ("image", "user"),
    [
        ("busybox", "hub"),
        ("docker.io/a/b", "hub"),
        ("reg.example/a", "example"),
        ("other:5000/a", "other"),
        ("nobody.example/a", None),
        ("broken/a:1", "hub"),
    ],
)
def test_a_registry_s_credentials_are_found_by_any_of_its_names(image: str, user: str | None) -> None:
    keyring = Keyring.parse(urlsafe_b64encode(json.dumps(CONFIGS).encode()).decode())
    header = keyring.header(reference.parse(image))
    found = json.loads(urlsafe_b64decode(header))["username"] if header else None
    assert found == user


@pytest.mark.parametrize("header", ["", "!", "e30", "W10=", urlsafe_b64encode(b"[1]").decode(), "x" * 1_000_000])
def test_a_header_that_makes_no_sense_holds_nothing(header: str) -> None:
    assert Keyring.parse(header).header(reference.parse("busybox")) == ""
