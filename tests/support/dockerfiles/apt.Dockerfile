FROM busybox
RUN mkdir -p /etc/apt/apt.conf.d /var/cache/apt/archives /var/lib/apt && echo clean > /etc/apt/apt.conf.d/docker-clean
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
RUN --mount=type=cache,id=deb,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=lists,target=/var/lib/apt,sharing=locked \
    mkdir -p /var/cache/apt/archives && echo deb > /var/cache/apt/archives/gcc.deb && echo gcc > /bin/gcc
