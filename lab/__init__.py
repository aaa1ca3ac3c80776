"""The lab: two hosts, two real routers, two nodes, in network namespaces; faults on demand, outages measured.

Run it as ``python -m lab VERB`` (see ``lab/README.md``).
"""
