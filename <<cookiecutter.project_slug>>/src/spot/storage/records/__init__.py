"""The records in the bucket: ledger, manifests, lease, markers, completion."""
