# prom/alertmanager:v0.27.0
FROM neo-test-monitoring
ENTRYPOINT ["alertmanager"]
