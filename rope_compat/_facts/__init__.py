"""What is true of a release, a model or a rope type: data without behaviour, once."""
