FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETPLATFORM
ARG TARGETOS TARGETARCH
WORKDIR /src
RUN --mount=type=bind,target=. --mount=type=tmpfs,target=/tmp --mount=type=bind,from=extra,target=/extra \
    mkdir /out && cat html/index.html /extra/page.html > /out/all && echo "$TARGETPLATFORM $TARGETOS/$TARGETARCH" > /out/for
FROM busybox
COPY --from=build /out /usr/bin/
COPY --from=extra . /extra
ENV BUILDKIT_SETUP_CGROUPV2_ROOT=1
ENTRYPOINT ["buildkitd"]
