"""DIMSE services: `user/` invokes them, `provider/` performs them, and the modules beside these are used by both."""
