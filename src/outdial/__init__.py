"""Outdial: outbound voice-AI calls, never lost, never dialed twice, always accounted for."""
