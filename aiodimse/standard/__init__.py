"""What the standard says, as rows. No behaviour, no imports from the floors above."""
