"""The operator's lists of words and patterns that may be in no prompt, or in no answer.

``rules_file`` reads the lists; ``words`` and ``patterns`` find them in a text that comes character by
character, in time linear in its length; ``stream`` lets out what can no longer become part of a match;
``source`` puts this between a request and its answer. All but the last is pure.
"""
