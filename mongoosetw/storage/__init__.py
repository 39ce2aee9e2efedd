"""The database: one engine, its threads, schemas and generic stores."""
