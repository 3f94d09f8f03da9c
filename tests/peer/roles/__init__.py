"""What a node can be: a listener, a source, or one that tells lies."""
