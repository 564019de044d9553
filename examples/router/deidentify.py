"""What RESEARCH gets: dicognito makes other names, dates and UIDs, the same ones for the same patient each time."""

import os

from dicognito.anonymizer import Anonymizer
from pydicom import Dataset

# An image that is sent again has to have the UIDs that it had before.
_anonymizer = Anonymizer(seed=os.environ["ROUTER_SEED"])


def deidentify(dataset: Dataset) -> Dataset:
    """Change a data set that nobody else has. Pixels stay as they are, with what is burned into them."""
    _anonymizer.anonymize(dataset)
    return dataset
