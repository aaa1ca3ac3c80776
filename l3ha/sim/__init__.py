"""The simulator: the very engine and speaker of a node, against a virtual network, virtual routers and ExaBGPs."""
