"""Dockerfiles as s-expressions: how each instruction is taken apart."""

from __future__ import annotations

import pytest

from orlop.build.dockerfile import dump
from orlop.build.dockerfile.errors import DockerfileError

FORMS = {
    # words
    "FROM  --platform=linux/arm64\tdebian:12 AS base": '(from ["--platform=linux/arm64"] "debian:12" "AS" "base")',
    "Expose 80/tcp \t 443": '(expose "80/tcp" "443")',
    "USER me:my group": '(user "me:my group")',
    "WORKDIR /a  b ": '(workdir "/a  b")',
    "STOPSIGNAL": "(stopsignal)",
    'MAINTAINER A "B" <a@b>': '(maintainer "A \\"B\\" <a@b>")',
    # the shell form is one word, nothing of it touched
    "RUN echo  \"$a\" 'b' \\\\ | wc": '(run "echo  \\"$a\\" \'b\' \\\\\\\\ | wc")',
    "ENTRYPOINT": "(entrypoint)",
    "SHELL bash -c": '(shell "bash -c")',
    # the JSON form, and what almost is one
    'CMD [ "a b",\t"c" ] ': '(cmd "a b" "c")',
    "CMD []": "(cmd)",
    'RUN [""]': '(run "")',
    'CMD ["\\u00e9\\t\\/", "\\ud83d\\ude80", "\\ud800"]': '(cmd "é\\t/" "🚀" "\ufffd")',
    'CMD ["a", ]': '(cmd "[\\"a\\", ]")',
    "CMD ['a']": "(cmd \"['a']\")",
    'CMD ["a"] b': '(cmd "[\\"a\\"] b")',
    'CMD ["a\tb"]': '(cmd "[\\"a\\tb\\"]")',
    "CMD [NaN]": '(cmd "[NaN]")',
    'COPY ["a b", "/c d/"]': '(copy "a b" "/c d/")',
    'ADD ["a" /b': '(add "[\\"a\\"" "/b")',
    'VOLUME ["/a", "/b"]': '(volume "/a" "/b")',
    "VOLUME /a /b": '(volume "/a" "/b")',
    'EXPOSE ["80"]': '(expose "[\\"80\\"]")',
    # pairs keep quotes and escapes
    "ENV a=b\\ c d='e \"f'": '(env "a" "b\\\\ c" "=" "d" "\'e \\"f\'" "=")',
    'ENV a="b \'c\\"d"e': '(env "a" "\\"b \'c\\\\\\"d\\"e" "=")',
    "ENV a b=c  d ": '(env "a" "b=c  d" "")',
    "ENV a='b\\' c=d": '(env "a" "\'b\\\\\'" "=" "c" "d" "=")',
    'ENV a="b c': '(env "a" "\\"b c" "=")',
    "ENV a= b=": '(env "a" "" "=" "b" "" "=")',
    "LABEL \"k v\"='x'y=z": '(label "\\"k v\\"" "\'x\'y=z" "=")',
    "LABEL": "(label)",
    'ARG a b=c d="e f" g=\'': '(arg "a" "b=c" "d=\\"e f\\"" "g=\'")',
    # flags
    'COPY --a --b=\'c d\' --e="f\\"" x y': '(copy ["--a" "--b=c d" "--e=f\\""] "x" "y")',
    "COPY --a -- --b /c": '(copy ["--a"] "--b" "/c")',
    "RUN -- --a": '(run "--a")',
    "RUN - x": '(run "- x")',
    "RUN a --b": '(run "a --b")',
    'CMD --a ["b"]': '(cmd ["--a"] "b")',
    # instructions in instructions
    "HEALTHCHECK NONE": '(healthcheck "NONE")',
    "HEALTHCHECK --retries=3  cmd  a  b": '(healthcheck ["--retries=3"] "cmd" "a  b")',
    'HEALTHCHECK CMD ["a", "b"]': '(healthcheck "CMD" "a" "b")',
    "ONBUILD": "(onbuild)",
    'ONBUILD Copy --from=x ["a", "b"]': '(onbuild (copy ["--from=x"] "a" "b"))',
    "onbuild HEALTHCHECK CMD x": '(onbuild (healthcheck "CMD" "x"))',
    "ONBUILD ENV a=b": '(onbuild (env "a" "b" "="))',
    # what is not printed as it is
    "RUN a\x01\x7f\xa0\u200b\U000e0001é☃": '(run "a\\x01\\x7f\\u00a0\\u200b\\U000e0001é☃")',
}


@pytest.mark.parametrize("text", FORMS)
def test_an_instruction_has_its_form(text: str) -> None:
    assert dump(text) == FORMS[text]


def test_each_instruction_is_a_line() -> None:
    assert dump("# x\nFROM a\n\nRUN b\n") == '(from "a")\n(run "b")'


@pytest.mark.parametrize(
    "text", ["FROM a\nENV b", "CMD [1]", 'COPY ["a", ["b"]]', "RUNN", "ONBUILD ONBUILD RUN a", "#"]
)
def test_what_has_no_form_is_an_error(text: str) -> None:
    with pytest.raises(DockerfileError):
        dump(text)
