"""Submit, observe and reconcile runs."""
