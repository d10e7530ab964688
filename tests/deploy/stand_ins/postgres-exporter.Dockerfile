# prometheuscommunity/postgres-exporter:v0.16.0
FROM neo-test-monitoring
ENTRYPOINT ["prometheus-postgres-exporter"]
