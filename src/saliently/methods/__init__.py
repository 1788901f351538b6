"""Saliency methods, one family a file."""
