"""What the runtime costs: passes, sampler, memory."""
