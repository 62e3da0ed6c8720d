FROM busybox AS foundation
ARG NB_USER="jovyan"
ARG NB_UID="1000"
ARG NB_GID="100"
SHELL ["/bin/sh", "-o", "pipefail", "-c"]
USER root
ENV SHELL=/bin/sh NB_USER="${NB_USER}" NB_UID=${NB_UID} NB_GID=${NB_GID} HOME="/home/${NB_USER}"
RUN echo auth | tee /seen > /dev/null && echo "${NB_USER}:x:${NB_UID}:${NB_GID}::${HOME}:/bin/sh" >> /etc/passwd && \
    mkdir -p /opt/conda "${HOME}/work" && chown -R "${NB_USER}:${NB_GID}" /opt/conda "${HOME}" && \
    find "${HOME}" -exec chgrp "${NB_GID}" {} + -exec chmod g+rwX {} + && find "${HOME}" -type d -exec chmod u+s,g+s {} +
ONBUILD USER root
ONBUILD COPY package.json /tmp/requirements
ONBUILD RUN cat /tmp/requirements | sort > /opt/conda/installed && rm /tmp/requirements
ONBUILD USER ${NB_UID}
USER ${NB_UID}
WORKDIR $HOME
RUN echo made > work/file
FROM foundation
WORKDIR "${HOME}/new"
EXPOSE 8888
HEALTHCHECK --interval=3s --timeout=1s --start-period=3s --retries=3 CMD /etc/jupyter/docker_healthcheck.py || exit 1
CMD ["start-notebook.py"]
