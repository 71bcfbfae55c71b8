"""The pages at `/`: rendered here, refreshed by a small script, with nothing from elsewhere."""
