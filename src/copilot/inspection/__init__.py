"""What is read beside the verdict and changes no state: executions in trouble, workers, links into Temporal's UI."""
