"""The provider's side of the services: the performing DIMSE-service-user (PS3.7)."""
