FROM busybox AS built
ADD caddy.tar /opt/
FROM busybox
RUN mkdir -p /config/caddy /data/caddy /etc/caddy /srv
ADD caddy.tar /
RUN set -eux; mkdir -p /usr/local/bin; mv /caddy /usr/local/bin/caddy; chmod +x /usr/local/bin/caddy
COPY --from=built /opt/caddy /opt/copied
COPY --from=built --chown=5:5 /opt/caddy /opt/owned
ENV CADDY_VERSION v2.10.0
ENV XDG_CONFIG_HOME /config
LABEL org.opencontainers.image.version=v2.10.0 \
      org.opencontainers.image.title=Caddy
EXPOSE 80
EXPOSE 443
EXPOSE 443/udp
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
