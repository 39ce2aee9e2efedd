"""Long stories of several users, told by chance or by hand."""
