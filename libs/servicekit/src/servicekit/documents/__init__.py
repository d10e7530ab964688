"""The text of documents that strangers send: PDF, Word, text, web pages, pictures.

::

    bytes, name, content type -> what kind it is (from the bytes) -> a process of its own reads it, confined
                              -> text, or one of a few refusals

What strangers send may be made to harm: bombs that unpack to gigabytes, loops, ten thousand pages. So no
parser runs in the caller's process. The one that does has little memory and time, no network where the
system lets us take it away, no secrets in its environment, and an empty folder; whatever becomes of it, the
caller gets an answer in bounded time. ``port`` is what callers need to know.
"""
