"""What the services of Code du Travail Neo share, and nothing else."""
