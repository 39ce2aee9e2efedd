"""Configuration: TOML files read into frozen dataclasses, with every error and its line."""
