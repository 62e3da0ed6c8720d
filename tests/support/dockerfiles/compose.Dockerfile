FROM busybox AS build
RUN mkdir /out && echo compose > /out/docker-compose
FROM scratch AS binary
COPY --from=build /out/ /
FROM build AS test
RUN exit 1
