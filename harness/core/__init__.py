"""What every room stands on: errors, names, words, files."""
