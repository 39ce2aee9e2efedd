"""Measures the server beside Prosody and ejabberd; see README.md in this folder."""
