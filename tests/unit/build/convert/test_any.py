"""Any Dockerfile that can be read becomes a graph or is refused with the place of the instruction."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orlop.build.dockerfile.errors import DockerfileError
from support.converting import graph_of

WORDS = st.text("aA1$XY{}:-+?'\"\\/.*,=<>@#[]%é \t", max_size=12)
FLAGS = st.sampled_from(
    ("--from=", "--mount=type=", "--mount=target=", "--chown=", "--chmod=", "--parents", "--link", "--platform=")
    + ("--checksum=", "--keep-git-dir=", "--exclude=", "--network=", "--security=", "--unpack=", "--interval=")
)
NAMES = st.sampled_from(
    ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER")
    + ("ONBUILD", "ONBUILD COPY", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
)
LINE = st.builds(
    lambda name, flags, words: " ".join([name, *(flag + value for flag, value in flags), *words]),
    NAMES,
    st.lists(st.tuples(FLAGS, WORDS), max_size=1),
    st.lists(WORDS, min_size=1, max_size=3),
)


@settings(max_examples=300)
@given(st.lists(LINE, max_size=4), st.booleans())
def test_any_instructions_become_a_graph_or_are_refused(lines: list[str], staged: bool) -> None:
    head = "ARG X=x\nFROM base AS a\nONBUILD RUN x\nFROM a\n" if staged else "FROM base\n"
    try:
        graph = graph_of(head + "\n".join(lines))
    except DockerfileError as error:
        found = error.range
    else:
        found = graph.steps[-1].range
        assert graph.steps[-1].number == len(graph.steps)
        assert 0 <= graph.target.node < len(graph.nodes)
    assert found is not None
