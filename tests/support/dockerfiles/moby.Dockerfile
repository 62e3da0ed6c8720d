ARG SYSTEMD=false
ARG VARIANT=plain
FROM busybox AS tool-0
RUN echo 0 > /tool
FROM busybox AS tool-1
RUN echo 1 > /tool
FROM busybox AS tool-2
RUN echo 2 > /tool
FROM busybox AS tool-3
RUN echo 3 > /tool
FROM busybox AS tool-4
RUN echo 4 > /tool
FROM busybox AS tool-5
RUN echo 5 > /tool
FROM busybox AS tool-6
RUN echo 6 > /tool
FROM busybox AS tool-7
RUN echo 7 > /tool
FROM busybox AS tool-8
RUN echo 8 > /tool
FROM busybox AS tool-9
RUN echo 9 > /tool
FROM busybox AS tool-10
RUN echo 10 > /tool
FROM busybox AS tool-11
RUN echo 11 > /tool
FROM busybox AS tool-12
RUN echo 12 > /tool
FROM busybox AS tool-13
RUN echo 13 > /tool
FROM busybox AS tool-14
RUN echo 14 > /tool
FROM busybox AS tool-15
RUN echo 15 > /tool
FROM busybox AS tool-16
RUN echo 16 > /tool
FROM busybox AS tool-17
RUN echo 17 > /tool
FROM busybox AS tool-18
RUN echo 18 > /tool
FROM busybox AS tool-19
RUN echo 19 > /tool
FROM busybox AS tool-20
RUN echo 20 > /tool
FROM busybox AS tool-21
RUN echo 21 > /tool
FROM busybox AS tool-22
RUN echo 22 > /tool
FROM busybox AS tool-23
RUN echo 23 > /tool
FROM busybox AS tool-24
RUN echo 24 > /tool
FROM busybox AS tool-25
RUN echo 25 > /tool
FROM busybox AS tool-26
RUN echo 26 > /tool
FROM busybox AS tool-27
RUN echo 27 > /tool
FROM busybox AS tool-28
RUN echo 28 > /tool
FROM busybox AS tool-29
RUN echo 29 > /tool
FROM busybox AS base-systemd-true
RUN echo systemd > /systemd
FROM busybox AS base-systemd-false
FROM base-systemd-${SYSTEMD} AS base
FROM base AS unneeded
RUN exit 1
FROM base AS build-plain
COPY --from=tool-0 /tool /tools/0
COPY --from=tool-5 /tool /tools/5
COPY --from=tool-10 /tool /tools/10
COPY --from=tool-15 /tool /tools/15
COPY --from=tool-20 /tool /tools/20
COPY --from=tool-25 /tool /tools/25
FROM build-${VARIANT} AS build
WORKDIR /go/src/moby
RUN --mount=type=cache,id=moby,target=/root/.cache --mount=type=tmpfs,target=/go/pkg \
    --mount=type=bind,target=.,rw mkdir /build && cat html/index.html /tools/* > /build/dockerd && ls / > /build/names
FROM scratch AS binary
COPY --from=build /build/ /
FROM binary
