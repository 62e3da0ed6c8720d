FROM busybox
RUN echo 'redis:x:999:1000::/data:/bin/sh' >> /etc/passwd && echo 'redis:x:1000:' >> /etc/group
RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
EXPOSE 6379
CMD ["redis-server"]
