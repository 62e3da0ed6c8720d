"""Dockerfiles of a size that nobody writes: linear time, bounded memory, and an error instead of either."""

from __future__ import annotations

import pytest

from orlop.build.convert import ConversionError
from support.converting import graph_of

MANY = 5_000


def test_a_chain_of_stages_is_as_long_as_it_likes() -> None:
    text = "FROM a AS s0\n" + "".join(
        f"FROM s{n} AS s{n + 1}\nENV A=x$A\n" if n < 5 else f"FROM s{n} AS s{n + 1}\n" for n in range(MANY)
    )
    graph = graph_of(text)
    assert len(graph.stages) == MANY + 1
    assert len(graph.nodes) == 1


def test_stages_that_take_from_each_other_in_a_chain_are_all_built() -> None:
    text = "FROM scratch AS s0\n" + "".join(f"FROM scratch AS s{n + 1}\nCOPY --from=s{n} / /\n" for n in range(MANY))
    assert len(graph_of(text).steps) == 2 * MANY + 1


def test_a_long_circle_is_found() -> None:
    text = "".join(f"FROM scratch AS s{n}\nCOPY --from=s{(n + 1) % MANY} / /\n" for n in range(MANY))
    with pytest.raises(ConversionError, match="circular dependency detected on stage: s0"):
        graph_of(text)


def test_triggers_that_need_stages_with_triggers_are_followed_to_the_end() -> None:
    text = "FROM scratch AS t0\n"
    for n in range(MANY // 10):
        text += f"FROM scratch AS b{n}\nONBUILD COPY --from=t{n} / /\nFROM b{n} AS t{n + 1}\n"
    assert len(graph_of(text).stages) == 2 * (MANY // 10) + 1


def test_arguments_and_variables_are_as_many_as_one_likes() -> None:
    text = "FROM a\n" + "".join(f"ARG A{n}={n}\nENV E{n}=$A{n}\nLABEL l{n}=\n" for n in range(MANY)) + "RUN x"
    graph = graph_of(text)
    assert graph.target.config["Env"][-1] == f"E{MANY - 1}={MANY - 1}"


def test_values_that_double_with_each_line_are_refused() -> None:
    for line in ("ENV A=$A$A\n", "ARG A=$A$A\n", "LABEL l=$A$A\nENV A=$A$A\n"):
        with pytest.raises(ConversionError, match="too large when its variables are expanded"):
            graph_of("FROM a\nENV A=xx\n" + line * 100)
    with pytest.raises(ConversionError, match="too large when its variables are expanded"):
        graph_of("ARG A=x\n" + "ARG A=$A$A\n" * 100 + "FROM a")


def test_a_replacement_that_would_be_too_large_is_not_tried() -> None:
    text = "FROM a\nENV A=" + "x" * 60_000 + "\nENV B=" + "y" * 60_000 + "\nENV C=${A//x/$B}"
    with pytest.raises(ConversionError, match="too large when its variables are expanded"):
        graph_of(text)


def test_a_value_that_many_lines_repeat_is_refused_when_they_are_too_many() -> None:
    with pytest.raises(ConversionError, match="too large when its variables are expanded"):
        graph_of("FROM a\n" + "ARG A\n" * 1000, arguments={"A": "x" * 1_000_000})


def test_variables_that_would_be_kept_again_and_again_are_refused() -> None:
    text = "FROM a AS s0\n" + "".join(f"ENV E{n}={'x' * 500}\n" for n in range(2000))
    text += "".join(f"FROM s0 AS c{n}\n" for n in range(200)) + "FROM a\n"
    text += "".join(f"COPY --from=c{n} / /\n" for n in range(200))
    with pytest.raises(ConversionError, match="too large"):
        graph_of(text)


def test_triggers_that_too_many_stages_would_run_are_refused() -> None:
    text = "FROM scratch AS s0\n" + "ONBUILD ENV A=1\n" * 1000
    text += "".join(f"FROM s0 AS c{n}\n" for n in range(1000)) + "FROM scratch\n"
    text += "".join(f"RUN --mount=from=c{n},target=/{n} x\n" for n in range(1000))
    with pytest.raises(ConversionError, match="too large"):
        graph_of(text)
