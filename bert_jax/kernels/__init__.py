"""Fast forms of what the modules compute, each tested against the plain one."""
