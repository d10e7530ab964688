"""Telegram's Bot API, as far as our bot uses it, and as strict as the documents say.

It refuses what the original refuses, with the original's words, and keeps a transcript of what people in its
chats would have seen. Source of everything here: https://core.telegram.org/bots/api and
https://core.telegram.org/bots/faq (limits).
"""
