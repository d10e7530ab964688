"""What `make run` does: starts the services, keeps channels alive, and ends all of them together."""
