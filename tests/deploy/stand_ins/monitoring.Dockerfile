# Debian's Prometheus, Alertmanager and exporters in one image, under the names of the official programs; busybox,
# as the official images have it, for health checks.
FROM neo-test-base
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends \
        busybox prometheus prometheus-alertmanager prometheus-blackbox-exporter prometheus-node-exporter \
        prometheus-postgres-exporter prometheus-redis-exporter \
    && rm -rf /var/lib/apt/lists/* /etc/prometheus/* \
    && for name in alertmanager node-exporter; do \
        ln -s "/usr/bin/prometheus-$name" "/usr/bin/$(echo $name | tr - _)"; \
    done && ln -s /bin/busybox /usr/bin/wget
