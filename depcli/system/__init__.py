"""What is asked of the operating system: whole files, locks, Ctrl-C, permissions, runs that go on."""
