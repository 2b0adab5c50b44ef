"""The machine: device mesh, processes, storage, locks and the compile cache."""
