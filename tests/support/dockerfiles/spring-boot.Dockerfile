FROM busybox AS builder
WORKDIR /builder
RUN for layer in dependencies spring-boot-loader snapshot-dependencies application; do \
      mkdir -p extracted/$layer/lib && echo $layer > extracted/$layer/lib/$layer && echo $layer > extracted/$layer/last; \
    done
FROM busybox
WORKDIR /application
COPY --from=builder /builder/extracted/dependencies/ ./
COPY --from=builder /builder/extracted/spring-boot-loader/ ./
COPY --from=builder /builder/extracted/snapshot-dependencies/ ./
COPY --from=builder /builder/extracted/application/ ./
ENTRYPOINT ["java", "-jar", "application.jar"]
