ARG BASE
FROM ${BASE:-busybox} AS build
RUN cp /bin/busybox /pause && chmod 555 /pause
FROM scratch
ARG ARCH=none
COPY --from=build /pause /busybox-linux-${ARCH}
RUN ["/busybox-linux-amd64", "true"]
USER 65535:65535
ENTRYPOINT ["/pause"]
