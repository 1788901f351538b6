"""Ratios, never seconds: each method against the bare passes it must make, and against Captum, in one run."""
