# oliver006/redis_exporter:v1.67.0
FROM neo-test-monitoring
ENTRYPOINT ["prometheus-redis-exporter"]
