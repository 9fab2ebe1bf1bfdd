"""The campaign of faults (docs/reliability.md): kills, writers side by side, full disks, hostile
artefacts under sanitizers, and fuzzed parsers."""
