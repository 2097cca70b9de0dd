"""What the workflows ask of the outside world: one method of one class with injected clients each."""
