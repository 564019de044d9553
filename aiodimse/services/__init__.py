"""Floor 4: one file per DIMSE service group, user and provider half side by side."""
