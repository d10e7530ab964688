"""Random mishaps between people, a real Dovecot, a real Postfix and the mail service, and the question
whether everybody was answered once all the same.

A run is made from a seed (``plan``): people write, the real service answers in a process of its own, and
meanwhile that process is killed at named points (``points``), the mail servers misbehave behind proxies, a
folder is numbered anew, and the AI core, the database and Redis are away. When everything is quiet,
``verdict`` compares the journal with what the server took and people have. Time, forks and outages are those
of the Telegram service's chaos, which this one repeats room by room.

``python -m mail_chaos --help`` says how to repeat a run.
"""
