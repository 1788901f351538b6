"""Measures of explanations: one explanation or several, one number."""
