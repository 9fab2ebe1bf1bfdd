"""What peers' own interpreters run: these files import PyTorch, the peer and each other alone."""
