"""Pulls the studies of a list of accession numbers from an archive that only moves."""
