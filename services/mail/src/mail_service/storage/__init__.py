"""What is kept: threads and their letters, each mail's way, cursors, and who may be answered when."""
