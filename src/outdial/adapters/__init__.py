"""The outside world: each module speaks to one neighbour and translates its errors."""
