"""Infractions (infracciones): traffic and municipal fines by plate, what is owed for them on any day, and why.

`wage`, `catalogue`, `terms` and `places` are what norms and the city publish; `infraction` has the events and the
status, `debt` computes what is owed, `issuing`, `contesting` and `settling` have the commands.
"""

from domain.infractions import catalogue, contesting, debt, infraction, issuing, places, settling, terms, wage

__all__ = ["catalogue", "contesting", "debt", "infraction", "issuing", "places", "settling", "terms", "wage"]
