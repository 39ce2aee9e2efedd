"""Sessions that other nodes have: who is where, and how to reach them."""
