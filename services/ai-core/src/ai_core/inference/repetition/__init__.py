"""Never compute the same answer twice: cached answers, and one computation for all who ask at once.

What is kept and shared are the engine's own events, so whatever an answer consists of comes back as it
was: text, reasoning, calls of functions, log probabilities.
"""
