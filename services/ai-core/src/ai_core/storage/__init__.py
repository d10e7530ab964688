"""What outlives a process: tables, one repository per table, and their migrations."""
