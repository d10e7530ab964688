"""People chat with the models of an AI core, on Telegram."""
