"""Models: from text to tokens, vectors and logits."""
