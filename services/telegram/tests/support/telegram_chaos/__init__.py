"""Random mishaps, and the question whether everybody was answered once all the same.

A run is made from a seed (``plan``): people write, the real service answers in a process of its own, and
meanwhile that process is killed at named points (``points``), the AI core, the database, Redis and Telegram
are away or misbehave (``outages``, ``core``), and updates come twice or out of order. When everything is
quiet, ``verdict`` compares the journal with what people saw. Time runs faster (``fast_time``), and services
are forked from a process that has imported everything (``zygote``).

``python -m telegram_chaos --help`` says how to repeat a run.
"""
