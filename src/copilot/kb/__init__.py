"""What `copilot kb` does: bring the runbooks to S3, have Bedrock read them, and see how far that is."""
