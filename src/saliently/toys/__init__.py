"""Small networks whose right explanation is known, as models that take text."""
