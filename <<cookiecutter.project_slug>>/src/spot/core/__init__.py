"""The vocabulary: runs, jobs, actions, errors, formatting. No I/O."""
