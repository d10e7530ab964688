"""``ai-core models``: fetch, list, check, remove and quantize models, on this machine's disk."""
