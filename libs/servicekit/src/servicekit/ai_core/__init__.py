"""The AI core as its channels see it: one typed client over its REST interface."""
