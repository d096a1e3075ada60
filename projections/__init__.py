"""What is known: one file per read model. The first ones come with availability; until then queries fold streams."""
