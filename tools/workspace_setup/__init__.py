"""The parts of setup_environment.py. Standard library only, and Python 3.8 must be able to run it."""
