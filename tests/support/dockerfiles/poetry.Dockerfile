FROM busybox AS builder
ENV POETRY_NO_INTERACTION=1 \
    VIRTUAL_ENV=/app/.venv
WORKDIR /app
COPY package.json ./
RUN touch README.md && mkdir -p .venv/bin && ln -s /bin/busybox .venv/bin/python && ln -s python .venv/bin/python3 \
    && cp package.json .venv/lock && ln -s lib .venv/lib64
FROM busybox AS runtime
ENV VIRTUAL_ENV=/app/.venv \
    PATH="/app/.venv/bin:$PATH"
COPY --from=builder ${VIRTUAL_ENV} ${VIRTUAL_ENV}
COPY html ./html
ENTRYPOINT ["python", "-m", "html.main"]
