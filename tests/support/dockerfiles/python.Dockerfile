FROM busybox
ENV PATH=/usr/local/bin:$PATH
ENV PYTHON_VERSION 3.14.0
RUN set -eux; \
    mkdir -p /usr/src/python/test /usr/local/bin "/usr/local/lib/python${PYTHON_VERSION%.*}/test/deep"; \
    cd "/usr/local/lib/python${PYTHON_VERSION%.*}"; \
    echo os > os.py; echo os > os.pyc; echo test > test/deep/test_os.py; \
    find /usr/local -depth \( \( -type d -a -name test \) -o \( -type f -a -name '*.pyc' \) \) -exec rm -rf '{}' +; \
    rm -rf /usr/src/python
RUN set -eux; for src in idle3 pip3 python3; do \
      dst="$(echo "$src" | tr -d 3)"; echo "$src" > "/usr/local/bin/$src"; ln -svT "$src" "/usr/local/bin/$dst"; \
    done
CMD ["python3"]
