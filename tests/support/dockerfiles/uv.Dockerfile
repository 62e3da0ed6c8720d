FROM busybox
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=package.json,target=pyproject.toml \
    --mount=type=bind,source=package-lock.json,target=uv.lock \
    mkdir .venv && cat pyproject.toml uv.lock > .venv/installed && echo x > /root/.cache/uv/wheel
COPY . /app
RUN --mount=type=cache,target=/root/.cache/uv test -e /root/.cache/uv/wheel
ENV PATH="/app/.venv/bin:$PATH"
ENTRYPOINT []
CMD ["serve"]
