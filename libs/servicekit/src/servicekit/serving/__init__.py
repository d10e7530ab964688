"""What every service with a door has in common: a life until a signal, background tasks, health pages."""
