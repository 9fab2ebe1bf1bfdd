"""Other implementations of the same networks, each in an environment and a process of its own.

`environment` finds them, `process` and `contender` talk to them, `workers/` is what they run; what
`sigmabench peers` compares is in `studies/peers`.
"""
