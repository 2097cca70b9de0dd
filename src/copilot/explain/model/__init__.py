"""The optional language model: one agent that explains what the rules decided, checks on its answer, and its budget."""
