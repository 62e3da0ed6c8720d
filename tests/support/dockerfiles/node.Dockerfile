FROM busybox
RUN echo 'node:x:1000:1000::/home/node:/bin/sh' >> /etc/passwd && echo 'node:x:1000:' >> /etc/group \
  && mkdir -p /home/node && chown node:node /home/node
ENV NODE_VERSION=24.0.0
COPY node.tar.xz SHASUMS256.txt /tmp/
RUN mkdir -p /usr/local && cd /tmp && grep ' node.tar.xz$' SHASUMS256.txt | sha256sum -c - \
  && tar -xJf node.tar.xz -C /usr/local --strip-components=1 -o \
  && rm node.tar.xz SHASUMS256.txt && ln -s /usr/local/bin/node /usr/local/bin/nodejs && test -x /usr/local/bin/nodejs
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
CMD [ "node" ]
