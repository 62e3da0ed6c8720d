ARG RUBY_VERSION=3.4
FROM busybox AS base
WORKDIR /rails
ENV RAILS_ENV="production" BUNDLE_PATH="/usr/local/bundle"
FROM base AS build
ARG RUBY_VERSION
RUN --mount=type=cache,id=apt,target=/var/cache/apt,sharing=locked --mount=type=tmpfs,target=/var/log \
    echo $RUBY_VERSION > /var/cache/apt/x && mkdir -p "${BUNDLE_PATH}/gems" && cp /var/cache/apt/x "${BUNDLE_PATH}/gems"
COPY . .
RUN mkdir log tmp && echo compiled > tmp/assets
FROM base
RUN echo 'rails:x:1000:' >> /etc/group && echo 'rails:x:1000:1000::/home/rails:/bin/sh' >> /etc/passwd \
    && mkdir -m 750 /home/rails && chown 1000:1000 /home/rails
USER 1000:1000
COPY --chown=rails:rails --from=build "${BUNDLE_PATH}" "${BUNDLE_PATH}"
COPY --chown=rails:rails --from=build /rails /rails
WORKDIR /rails/storage
RUN echo mine > file
ENTRYPOINT ["/rails/bin/docker-entrypoint"]
EXPOSE 80
CMD ["./bin/thrust", "./bin/rails", "server"]
