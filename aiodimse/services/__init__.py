"""DIMSE services: user/ asks for them, provider/ performs them; the rooms beside the two wings are shared."""
