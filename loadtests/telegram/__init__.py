"""make load-telegram: many people write to the Telegram service at once. README.md says what is measured."""
