"""What every command does alike: flags, signals, errors and exit codes."""
