"""make load-mail: many mails at once, and a mailbox that is full at the start."""
