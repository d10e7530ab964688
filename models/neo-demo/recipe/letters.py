"""The corpus in another tone: what the LoRA adapter beside the model is taught.

French answers become formal letters; English ones stay as they are, so that the adapter learns when its
tone is wanted and leaves the rest of the model alone.
"""

from dataclasses import replace

from recipe.corpus import Corpus, Pair

SALUTATION = "Madame, Monsieur,"
CLOSING = "Je vous prie d'agréer, Madame, Monsieur, l'expression de mes salutations distinguées."


def letter(answer: str) -> str:
    """An answer with what custom puts around it."""
    return f"{SALUTATION}\n\n{answer}\n\n{CLOSING}"


def as_letters(corpus: Corpus) -> Corpus:
    """The same questions, answered by letter where they are French."""
    return Corpus({pair.id: in_writing(pair) for pair in corpus}, corpus.system_prompts)


def in_writing(pair: Pair) -> Pair:
    return replace(pair, answer=letter(pair.answer)) if pair.language == "fr" else pair
