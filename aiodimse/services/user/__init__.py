"""The user's side of the services: the invoking DIMSE-service-user (PS3.7)."""
