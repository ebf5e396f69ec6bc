"""Which targets each package has, as data, and the rules that turn the data into edits."""
