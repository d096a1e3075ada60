"""Obligations (deudas tributarias): what is owed for a taxable object and year, on any day, and why.

`taxable_object` has objects and their owners, `obligation` the assessments and payments, `ufv`, `interest`, `scale`,
`tax_year`, `amnesty` and `holidays` what norms and the Central Bank publish; `debt` computes what is owed and
`statement` sums it up.
"""

from domain.obligations import (
    amending,
    amnesty,
    debt,
    holidays,
    interest,
    obligation,
    scale,
    statement,
    tax_year,
    taxable_object,
    ufv,
)

__all__ = [
    "amending",
    "amnesty",
    "debt",
    "holidays",
    "interest",
    "obligation",
    "scale",
    "statement",
    "tax_year",
    "taxable_object",
    "ufv",
]
