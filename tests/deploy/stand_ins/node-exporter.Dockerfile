# prom/node-exporter:v1.8.2
FROM neo-test-monitoring
ENTRYPOINT ["node_exporter"]
