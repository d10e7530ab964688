"""The mail service: a mailbox that answers in the same thread, with the models of an AI core."""
