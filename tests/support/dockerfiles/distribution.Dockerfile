FROM busybox AS version
RUN --mount=target=/src mkdir /out && (echo v1.2; sha256sum < /src/html/index.html) | tee /tmp/.version
FROM busybox AS build
RUN --mount=target=/src --mount=from=version,source=/tmp/.version,target=/tmp/.version \
    cat /tmp/.version /src/html/index.html > /registry
FROM busybox
COPY --from=build /registry /bin/registry
COPY html/deep/page.html /etc/distribution/config.yml
VOLUME ["/var/lib/registry"]
EXPOSE 5000
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/distribution/config.yml"]
