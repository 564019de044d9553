"""The tables of the standard, one row per fact. They have no behavior and import nothing from the rest of the
library."""
