"""What belongs to a running process: its worker pools, what it keeps in memory, which state of the code it runs."""
