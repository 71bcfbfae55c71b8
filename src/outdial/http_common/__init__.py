"""What every HTTP service here shares: problems, bodies, keys, health, sockets, servers."""
