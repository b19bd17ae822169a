"""Optimal transport between two clouds: plans, one method a file, and where they send new rows."""
