"""A DICOMweb service in front of an archive that speaks only DIMSE."""
