FROM busybox AS build
RUN mkdir -p /target/usr/local/go/bin && echo go > /target/usr/local/go/bin/go && chmod 755 /target/usr/local/go/bin/go
FROM busybox
ENV GOPATH=/go
ENV PATH=$GOPATH/bin:/usr/local/go/bin:$PATH
COPY --from=build --link /target/ /
RUN mkdir -p "$GOPATH/src" "$GOPATH/bin" && chmod -R 1777 "$GOPATH"
WORKDIR $GOPATH
