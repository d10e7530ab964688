# redis:7.2-bookworm
FROM neo-test-servers
