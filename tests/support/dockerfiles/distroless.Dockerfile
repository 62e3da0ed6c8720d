FROM busybox AS build
RUN echo 'nonroot:x:65532:65532::/home/nonroot:/sbin/nologin' >> /etc/passwd && echo 'nonroot:x:65532:' >> /etc/group
RUN mkdir -p /rootfs/tmp /home/nonroot && chmod 1777 /rootfs/tmp && chmod 700 /home/nonroot
FROM scratch
COPY --from=build /etc/passwd /etc/group /etc/
COPY --from=build /rootfs/ /
COPY --from=build --chown=nonroot:nonroot /home/nonroot /home/nonroot
COPY --from=build --chown=nonroot:nonroot /bin/busybox /app
USER nonroot:nonroot
WORKDIR /home/nonroot
ENTRYPOINT ["/app"]
