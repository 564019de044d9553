"""De-identification for RESEARCH: dicognito makes new names, dates and UIDs, the same for the same patient each
time."""

import os

from dicognito.anonymizer import Anonymizer
from pydicom import Dataset

# An image that is sent again must get the same UIDs.
_anonymizer = Anonymizer(seed=os.environ["ROUTER_SEED"])


def deidentify(dataset: Dataset) -> Dataset:
    """Change a data set in place. Pixels, and text that is burned into them, stay as they are."""
    _anonymizer.anonymize(dataset)
    return dataset
