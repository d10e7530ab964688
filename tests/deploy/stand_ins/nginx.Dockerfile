# nginx:1.28-bookworm: the templates become configuration, then scripts run, then nginx.
FROM neo-test-servers
RUN rm -rf /etc/nginx/* && mkdir -p /etc/nginx/conf.d /docker-entrypoint.d && chmod 777 /etc/nginx/conf.d
COPY nginx-entrypoint.sh /docker-entrypoint.sh
ENTRYPOINT ["sh", "/docker-entrypoint.sh"]
CMD ["nginx", "-p", "/etc/nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"]
