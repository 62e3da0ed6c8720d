FROM busybox
RUN set -eux; \
    echo 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >> /etc/passwd; \
    echo 'postgres:x:999:' >> /etc/group; \
    mkdir -p /var/lib/postgresql; \
    chown -R postgres:postgres /var/lib/postgresql
COPY gosu-* /tmp/gosu/
RUN set -eux; \
    mkdir -p /var/lib/apt/lists /usr/local/bin; \
    echo list > /var/lib/apt/lists/debian; \
# a comment between
    case "$(uname -m)" in x86_64) arch=amd64 ;; *) arch=other ;; esac; \
    cp "/tmp/gosu/gosu-$arch" /usr/local/bin/gosu; \
    chmod +x /usr/local/bin/gosu; \
    rm -rf /tmp/gosu /var/lib/apt/lists/*; \
    gosu true
ENV PG_MAJOR=17 PATH=$PATH:/usr/lib/postgresql/17/bin
ENV PGDATA=/var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown -R postgres:postgres "$PGDATA" && chmod 1777 "$PGDATA"
VOLUME /var/lib/postgresql/data
COPY entrypoint.sh /usr/local/bin/
RUN ln -s usr/local/bin/entrypoint.sh /
ENTRYPOINT ["entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
