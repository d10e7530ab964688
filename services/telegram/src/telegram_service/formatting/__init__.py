"""What a model writes as Markdown becomes what Telegram shows: text with entities, in messages of its size.

Nothing is sent as Markdown or HTML, where one stray character makes Telegram refuse the whole message: text
and its formatting travel apart (https://core.telegram.org/bots/api#messageentity). No word may be lost on
the way, whatever the model writes.
"""
