"""Codecs: bytes in, frozen values out. No socket, clock, event loop or logger lives here."""
