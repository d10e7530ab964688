"""What may be lost: cached answers, conversations, leases. In process, or in Redis."""
