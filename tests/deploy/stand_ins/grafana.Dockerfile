# grafana/grafana:11.5.2. No Grafana is to be had: this one sees that it would find its files, and says that it is well.
FROM neo-test-monitoring
COPY grafana-entrypoint.py /grafana-entrypoint.py
ENTRYPOINT ["python3", "/grafana-entrypoint.py"]
