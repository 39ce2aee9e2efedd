"""Nodes and their links: what joins the processes of a machine and the machines of a cluster."""
