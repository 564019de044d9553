"""What the standard says, as rows. No behavior, no imports from the floors above."""
