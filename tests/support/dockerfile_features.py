"""Dockerfiles on a busybox, each for a part of the language, and what they copy: for builds beside other builders."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

from support.archives import layer, member

__all__ = ["FEATURES", "feature_context"]

FEATURES: dict[str, str] = {
    "accounts with fixed ids and a directory of theirs": """
FROM busybox
RUN mkdir -p /etc && echo 'app:x:999:998::/home/app:/bin/sh' > /etc/passwd && echo 'web:x:998:' > /etc/group
WORKDIR /srv/data
RUN chown -R 999:998 /srv && chmod 2775 /srv/data
USER app:web
WORKDIR made
VOLUME /srv/data
RUN echo kept > /srv/data/file
STOPSIGNAL SIGQUIT
""",
    "several stages and a base by argument": """
ARG FLAVOUR=one
FROM busybox AS base-one
RUN echo one > /flavour
FROM busybox AS base-two
RUN echo two > /flavour
FROM base-${FLAVOUR} AS build
RUN mkdir /out && cp /flavour /out && ln -s flavour /out/link && ln /out/flavour /out/hard
FROM scratch
COPY --from=build /out /
COPY --from=base-two /flavour /second
ENTRYPOINT ["/bin/none"]
""",
    "scopes of ARG and ENV": """
ARG GLOBAL=g
FROM busybox
ARG GLOBAL
ARG OWN=${GLOBAL}-own
ENV A=1 B="two words" C=$OWN
ENV PATH=/opt/bin:$PATH D=${A:+set} E=${NONE:-default} F=${OWN#g-} G="${B%% *}" H=${B/two/2}
LABEL one="$A" two=x\\ y
RUN echo "$A $B $C $OWN $GLOBAL" > /seen
EXPOSE 80 443/tcp 53/udp 8000-8002
HEALTHCHECK --interval=5s --timeout=3s --retries=2 CMD test -e /seen
""",
    "directories, wildcards, owners and modes": """
FROM busybox
RUN mkdir /there && chmod 700 /there && ln -s /there /link
COPY tree /there
COPY tree /link/
COPY *.txt /texts/
COPY --chown=5:6 --chmod=0640 a.txt /deep/er/
COPY --chown=7 tree /owned/
COPY --chmod=u=rwX,go=rX tree /modes
COPY --parents tree/sub/./x.md a.txt /parents/
COPY --exclude=*.md tree /without/
COPY --link a.txt b.txt /linked/
""",
    "heredocs": """
FROM busybox
RUN <<EOF
echo one > /a
echo "two $HOME" > /b
EOF
RUN cat <<ONE > /c && cat <<TWO > /d
first
ONE
second
TWO
COPY <<first <<"second" /h/
value of $PATH
first
literal $PATH
second
COPY <<-EOF /tabs
\t\tindented
EOF
""".replace("\\t", "\t"),
    "mounts leave nothing": """
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox
RUN --mount=type=bind,from=tools,source=/tool,target=/mnt/tool cat /mnt/tool > /copied
RUN --mount=type=cache,target=/cache echo x > /cache/file
RUN --mount=type=tmpfs,target=/scratch echo x > /scratch/file
RUN --mount=type=bind,target=/context cp /context/a.txt /from-context
RUN --mount=type=bind,target=/rw,rw echo y > /rw/new && ls /rw > /listed
""",
    "what is removed and replaced": """
FROM busybox AS old
RUN mkdir -p /d/e /f /g && echo 1 > /d/e/1 && echo 2 > /d/2 && echo 3 > /f/3 && echo 4 > /g/4
FROM old
RUN rm -r /d/e && mkdir /d/e && echo new > /d/e/new
RUN rm /d/2 && rm -r /f && echo file > /f
RUN rm -r /g && ln -s d /g
RUN chown -R 0:0 /d && touch /empty && rm /empty
""",
    "archives by a link": """
FROM busybox
RUN mkdir -p /usr/tools && ln -s usr/tools /tools
ADD archive.tar.gz /
ADD archive.tar.gz /unpacked/
COPY archive.tar.gz /kept/
RUN mkdir /usr/named && ln -s usr/named /named
ADD named.tar.bz2 named.tar /
ADD named.tar /dir/
""",
    "steps that change little": """
FROM busybox
RUN true
RUN echo name > /etc/hostname
RUN touch /etc/passwd && chmod 644 /etc/passwd && chown -R 0:0 /var && mv /etc/group /etc/old && mv /etc/old /etc/group
RUN mv /home /house && mkdir /home && echo file > /house/file
USER nobody
RUN id -un > /tmp/me; echo >> /etc/passwd || echo refused > /tmp/refused
""",
    "kinds of files": """
FROM busybox
RUN mkfifo /pipe && mknod /null c 1 3 && chmod 1777 /tmp; chmod 4755 /bin/busybox; echo x > '/name with spaces'
RUN echo a > /one && ln /one /two && echo b >> /two && chmod 0 /one
RUN mkdir -m 3775 /sticky && umask 077 && echo s > /sticky/secret
""",
    "triggers": """
FROM busybox AS trigger
ONBUILD COPY a.txt /from-trigger
ONBUILD RUN cat /from-trigger > /ran
ONBUILD ENV TRIGGERED=yes
FROM trigger
CMD cat /ran
""",
    "words of other shells": """
FROM busybox
SHELL ["/bin/sh", "-exc"]
RUN echo $0 > /shell
CMD echo hello
""",
    "ignored files": """
FROM busybox
COPY . /all
""",
    "archives with an owner": """
FROM busybox
ADD --chown=12:34 archive.tar.gz /owned/
ADD --chmod=0700 a.txt /mode/
ADD --unpack=false archive.tar.gz /packed/
""",
    "copies between stages": """
FROM busybox AS one
RUN mkdir -p /t/sub && echo x > /t/f && chown -R 3:4 /t && chmod 6755 /t/f && ln /t/f /t/sub/hard && mkfifo /t/p
FROM busybox
COPY --from=one /t /kept
COPY --from=one --chown=9:9 /t/f /t/sub /changed/
COPY --from=0 /t/p /pipe
RUN chown -R 3:4 /kept
""",
    "working directories": """
FROM busybox
ENV WHERE=deep
WORKDIR /a
WORKDIR $WHERE/er
WORKDIR ../other
RUN pwd > pwd
COPY a.txt .
COPY b.txt ./
COPY tree sub
""",
    "commands and entrypoints": """
FROM busybox AS first
ENTRYPOINT ["/first"]
CMD ["argument"]
FROM first
ENTRYPOINT /second "with words"
FROM first
CMD ["other", "arguments"]
USER 1000:1000
LABEL "a b"=c multi="line \
continued"
""",
    "caches of a user": """
FROM busybox
RUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0750 stat -c '%u %g %a' /c > /seen
USER 5:6
RUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0750 echo x > /c/file && id -u > /tmp/id
""",
    "chains of triggers": """
FROM busybox AS a
ONBUILD RUN echo first >> /log
ONBUILD RUN echo second >> /log
FROM a AS b
ONBUILD COPY a.txt /c
RUN echo own >> /log
FROM b
RUN echo last >> /log
""",
    "links in the way": """
FROM busybox
RUN mkdir -p /usr/lib2 && ln -s usr/lib2 /lib2 && ln -s /absent/dir /dangling && ln -s a.txt /file
COPY a.txt /lib2/
COPY tree/ /lib2/tree/
COPY a.txt /dangling/
COPY b.txt /file
COPY tree/link /followed
""",
    "exclusions, parents and symbolic modes": """
FROM busybox AS from
RUN mkdir -p /t/one/two /t/three && echo x > /t/one/two/f && echo y > /t/one/g.md && cp /bin/busybox /t/three/run
RUN chmod 2750 /t/one && chmod 1777 /t/one/two && chmod 4711 /t/three/run && chown -R 3:4 /t/one
FROM busybox
RUN mkdir -p /there/one && chmod 700 /there/one && chown 7:8 /there/one && mkdir -m 2775 /shared && chown 5:6 /shared
COPY --from=from --exclude=* --exclude=!two/f /t/one /excluded
COPY --from=from --parents /t/./one/two/f /there/
COPY --from=from --parents --exclude=one/two /t/./**/*.md /t/./three /parents/
COPY --from=from --chmod=u=rwX,g=u,o-rwx /t /symbolic
COPY --from=from --chmod=g+s,o=t /t /bits
COPY --from=from --chmod=4711 /t/three /octal/made
COPY --from=from /t/one /shared/by/group
COPY --link --chown=root:root a.txt /linked/
WORKDIR /shared/work
""",
    "only metadata": """
FROM busybox
MAINTAINER nobody
LABEL a=1
EXPOSE 1
VOLUME ["/v1", "/v2"]
HEALTHCHECK NONE
STOPSIGNAL 9
""",
}


def feature_context(place: Path) -> None:
    """Write the files that these Dockerfiles copy into a new directory."""
    (place / "tree/sub").mkdir(parents=True)
    for name in (
        *("a.txt", "b.txt", "left.out"),
        *("tree/x", "tree/x.md", "tree/sub/x.md", "tree/left.out", "tree/taken.out"),
    ):
        (place / name).write_text(name)
    (place / "tree/link").symlink_to("sub/x.md")
    (place / "tree/x").chmod(0o755)
    (place / "tree/sub").chmod(0o750)
    tools = layer(member("tools/a.txt", b"a"), member("tools/sub/", mode=0o750), member("tools/sub/x.md", b"x", uid=5))
    (place / "archive.tar.gz").write_bytes(gzip.compress(tools, mtime=0))
    named = layer(member("named/", mode=0o711), member("named/new/"), member("named/new/x", b"x"))
    (place / "named.tar").write_bytes(named)
    (place / "named.tar.bz2").write_bytes(bz2.compress(layer(member("named/first", b"1"))))
    (place / ".dockerignore").write_text("**/*.out\n!tree/taken.out\n.dockerignore\nDockerfile\n")
