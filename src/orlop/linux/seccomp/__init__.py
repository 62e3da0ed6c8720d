"""Filters for system calls (seccomp(2)): Docker's profiles, their compilation to BPF, and loading the program."""
