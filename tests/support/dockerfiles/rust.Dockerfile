FROM busybox
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH RUST_VERSION=1.90.0
RUN set -eux; arch="$(uname -m)"; \
    case "$arch" in \
        x86_64) triple=x86_64-unknown-linux-gnu ;; \
        aarch64) triple=aarch64-unknown-linux-gnu ;; \
        *) echo >&2 "unsupported: $arch"; triple=none ;; \
    esac; \
    mkdir -p $RUSTUP_HOME/$triple $CARGO_HOME/bin; echo cargo > $CARGO_HOME/bin/cargo; \
    chmod -R a+w $RUSTUP_HOME $CARGO_HOME
