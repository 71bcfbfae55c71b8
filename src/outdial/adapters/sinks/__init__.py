"""Where activity events can be delivered to: one module a kind of receiver."""
