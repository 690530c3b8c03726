"""What a plugin is: records, hooks, discovery, errors."""
