"""Exhaustive exploration of the group's decision machine: the real ``SrgMachine``, two nodes, two routers.

    boot --time--> state --fault, anywhere and anytime--> state ...
                     +--> the faults stay    --> ending, judged
                     +--> everything heals   --> ending, judged

``shape`` has the timers and the faults, ``node`` and ``link`` the parts, ``world`` one tick of the whole, ``search``
every reachable state, ``judge`` and ``geometry`` what becomes of it, ``ablation`` the machine with one rule less. Run
it with ``python -m l3ha.sim.explore``.
"""
