"""Where mail goes out: one SMTP server that takes it from us."""
