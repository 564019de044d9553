"""Floor 2b: P-DATA fragments <-> DIMSE messages (PS3.7), sans-IO. Knows nothing of associations."""
