# prom/prometheus:v2.55.1
FROM neo-test-monitoring
ENTRYPOINT ["prometheus"]
