# prom/blackbox-exporter:v0.25.0
FROM neo-test-monitoring
ENTRYPOINT ["prometheus-blackbox-exporter"]
