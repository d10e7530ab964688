"""Many requests handed over at once, answered when nobody else needs the engines.

``decisions`` says what follows from an answer, ``archive`` knows batches as their owners see them,
``runner`` answers the lines.
"""
