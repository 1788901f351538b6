"""Games: what players are worth together, asked by coalitions alone. No model, no text."""
