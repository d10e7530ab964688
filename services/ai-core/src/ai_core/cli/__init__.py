"""The commands of ``ai-core``, one module each; ``__main__`` chooses between them."""
