"""l3ha beside what else there is: same machines, routers, traffic and faults; what runs on n1 and n2 differs."""
