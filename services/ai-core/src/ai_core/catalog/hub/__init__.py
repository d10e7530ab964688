"""Models from the hub (https://huggingface.co, or another server with its API): what of a repository is
fetched, and how it comes here.

What happens, in the process of whoever wants a model: an order goes to a process of its own
(:mod:`~ai_core.catalog.hub.puller`), which tells how it goes on. In that process
(:mod:`~ai_core.catalog.hub.__main__`): the repository's list of files is asked for, a choice is made
(:mod:`~ai_core.catalog.hub.choice`, pure), files come into a folder that no engine reads, their checksums are
compared, and only then they get their names. Files and record lie where :mod:`ai_core.catalog.places` says.
"""
