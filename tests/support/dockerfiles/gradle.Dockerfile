FROM busybox AS cache
RUN --mount=type=cache,id=gradle,target=/root/.gradle,sharing=locked echo 1 >> /root/.gradle/lock && echo 1 > /one
FROM busybox AS again
RUN --mount=type=cache,id=gradle,target=/root/.gradle,sharing=locked echo 2 >> /root/.gradle/lock && echo 2 > /two
FROM busybox
COPY --from=cache /one /
COPY --from=again /two /
RUN --mount=type=cache,id=gradle,target=/root/.gradle,sharing=locked sort /root/.gradle/lock > /seen
