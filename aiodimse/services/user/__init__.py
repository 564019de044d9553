"""Services as their user: what we ask a peer for (PS3.7, the invoking DIMSE-service-user)."""
