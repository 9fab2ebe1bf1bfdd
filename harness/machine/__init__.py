"""The machine and this process on it: cores, memory, what is installed, and what it is called."""
