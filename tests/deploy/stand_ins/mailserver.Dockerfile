# mailserver/docker-mailserver:15.0
FROM neo-test-servers
COPY mailserver-entrypoint.sh /docker-entrypoint.sh
ENTRYPOINT ["bash", "/docker-entrypoint.sh"]
