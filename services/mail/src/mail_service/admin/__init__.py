"""What an operator sees and does: the same over HTTP and by command."""
