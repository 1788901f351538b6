"""Experiments on the user's own model: each trains or explains again, and gives a report."""
