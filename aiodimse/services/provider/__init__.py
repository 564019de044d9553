"""Services as their provider: what a peer asks us for (PS3.7, the performing DIMSE-service-user)."""
