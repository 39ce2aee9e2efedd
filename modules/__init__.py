"""The modules that come with the server, one feature each."""
