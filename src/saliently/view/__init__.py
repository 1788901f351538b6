"""What a person sees: one tree of parts, shown in a terminal, on a page, as a chart, or kept as a record."""
