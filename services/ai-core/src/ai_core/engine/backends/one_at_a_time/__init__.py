"""The frame for engines that compute one sequence at a time."""
