FROM busybox
RUN rm /usr/bin/env && cp -a /bin/. /usr/bin/ && rm -rf /bin && /usr/bin/busybox ln -s usr/bin /bin
ADD s6-overlay-noarch.tar.xz s6-overlay-arch.tar.xz /
ADD s6-overlay-symlinks.tar.xz /
RUN test -L /bin && cat /bin/s6-svc
ENTRYPOINT ["/init"]
