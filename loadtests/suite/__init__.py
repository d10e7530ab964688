"""make load: API clients, people on Telegram and mails against the whole suite (loadtests/README.md)."""
