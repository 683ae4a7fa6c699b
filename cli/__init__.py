"""CLI. The `mlserve` command: thin verbs over app."""
