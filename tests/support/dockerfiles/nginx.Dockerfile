FROM busybox
LABEL maintainer="nobody <nobody@example.com>"
ENV NGINX_VERSION=1.29.0 PKG_RELEASE=1~busybox
RUN mkdir -p /var/log/nginx /entrypoint.d \
    && ln -sf /dev/stdout /var/log/nginx/access.log \
    && ln -sf /dev/stderr /var/log/nginx/error.log
COPY entrypoint.sh /
COPY html/index.html html/deep/page.html /entrypoint.d/
ENTRYPOINT ["/entrypoint.sh"]
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
