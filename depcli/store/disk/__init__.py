"""Between the store and the disk: LanceDB's calls, whole files, power cuts, one writer at a time, and failures in words."""
