"""Deterministic simulation: the real worker, runner, lease and client over the memory store.

Rules
-----
* Nothing of the product is modelled.  What it takes from the system (time, threads, entropy)
  is replaced while a simulation runs (`replaced`); the store is the real memory store behind
  a network that has faults (`network`).
* A simulated process is a few threads.  One thread runs at a time: it has the baton, and
  passes it on at every call of the store, every wait and every sleep (`baton`).
* Every choice comes from generators seeded with the seed of the run.  So one seed gives one
  run, byte for byte: its digest is over every call and over what is stored in the end.
* The invariants (`invariants`) are looked at after each change of the store (`monitor`), and
  when all faults have stopped and all has come to rest (`final`).
* A mutant (`mutants`) is the product with one guard taken away: the campaign must notice.
"""
